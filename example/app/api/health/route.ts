import { sentences, wordErrors } from "@/lib/score";
import { askTrainer } from "@/lib/trainer";

export const dynamic = "force-dynamic";

type Reply = {
  python: string;
  wheels: Record<string, string>;
  note: number;
  hertz: number;
  wordErrors: number;
  speechSeconds: number;
  agrees: boolean;
};

async function examine() {
  // A note of the clock's choosing, so that no stored answer can pass.
  const note = 48 + (Date.now() % 37);
  const hertz = 440 * 2 ** ((note - 69) / 12);
  const said = sentences[0];
  const heard = said.replace("coast", "cost").replace(" a quarter", " quarter");
  const node = { version: process.version, note, hertz, wordErrors: wordErrors(said, heard) };

  const python = await askTrainer<Reply>({ task: "check", said, heard, node });
  const agrees =
    python.note === note &&
    Math.abs(python.hertz - hertz) < 0.5 &&
    python.wordErrors === node.wordErrors &&
    python.speechSeconds > 1;
  return { status: agrees && python.agrees ? "ok" : "failing", node: { ...node, agrees }, python };
}

// Probes that arrive together share one examination, so they cannot pile up processes.
let running: ReturnType<typeof examine> | undefined;

export async function GET() {
  try {
    running ??= examine().finally(() => (running = undefined));
    const result = await running;
    return Response.json(result, { status: result.status === "ok" ? 200 : 503 });
  } catch (error) {
    console.error(error);
    return Response.json({ status: "failing", error: String(error) }, { status: 503 });
  }
}
