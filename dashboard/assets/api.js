// Requests to the gateway, as docs/reference/api.md tells. An error that is thrown
// is the gateway's own sentence, with its hint.
import { texts } from "./texts.js";

// unlock is called when the gateway wants to know who asks; it resolves to whether
// the request is worth repeating.
let unlock = async () => false;
export const onLocked = (f) => (unlock = f);

async function send(path, { method = "GET", body, signal } = {}) {
  const json = body !== undefined && !(body instanceof Blob);
  const answer = await fetch(`/api/v1/${path}`, {
    method, signal, cache: "no-store",
    headers: json ? { "Content-Type": "application/json" } : {},
    body: json ? JSON.stringify(body) : body,
  }).catch((error) => {
    throw error.name === "AbortError" ? error : new Error(texts.unreachable);
  });
  if (answer.status === 401 && (await unlock())) return send(path, { method, body, signal });
  if (!answer.ok) throw new Error(await sentence(answer));
  return answer;
}

const sentence = (answer) => answer.json().then((a) => a.error).catch(() => `${answer.status} ${answer.statusText}`);

// ask returns the answer.
export const ask = async (path, options) => (await send(path, options)).json();

// tell posts a value and returns the answer.
export const tell = (path, body = {}, options = {}) => ask(path, { method: "POST", body, ...options });

// lines yields the lines of an answer that takes its time.
export async function* lines(path, options) {
  const reader = (await send(path, options)).body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) {
      const line = JSON.parse(part);
      if (line.error) throw new Error(line.error);
      yield line;
    }
  }
}
