import { execFile } from "node:child_process";

/**
 * Ask the Python half. One short-lived process per request: nothing to supervise or to
 * restart, and none outlives the server by more than its time limit.
 */
export function askTrainer<Reply>(request: object): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      "python3",
      ["-m", "trainer"],
      { timeout: 15_000, killSignal: "SIGKILL", maxBuffer: 8 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error) {
          const lines = stderr.trim().split("\n");
          reject(new Error(`the Python half failed: ${lines.at(-1) || error.message}`));
          return;
        }
        try {
          resolve(JSON.parse(stdout));
        } catch {
          reject(new Error("the Python half answered something that is not JSON"));
        }
      },
    );
    // A child that died early closes its input; the callback above tells why.
    child.stdin?.on("error", () => {});
    child.stdin?.end(JSON.stringify(request));
  });
}
