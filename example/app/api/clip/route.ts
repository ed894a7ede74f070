import { sentences } from "@/lib/score";
import { askTrainer } from "@/lib/trainer";

export const dynamic = "force-dynamic";

const clips = new Map<number, Promise<{ wav: string }>>();

/** GET /api/clip?sentence=0: the sentence, spoken. */
export async function GET(request: Request) {
  const number = Number(new URL(request.url).searchParams.get("sentence") ?? 0);
  const text = sentences[number];
  if (text === undefined) return Response.json({ error: "no such sentence" }, { status: 404 });

  if (!clips.has(number)) clips.set(number, askTrainer({ task: "speak", text }));
  try {
    const { wav } = await clips.get(number)!;
    return new Response(Buffer.from(wav, "base64"), { headers: { "content-type": "audio/wav" } });
  } catch (error) {
    clips.delete(number);
    console.error(error);
    return Response.json({ error: "the sentence could not be spoken" }, { status: 503 });
  }
}
