// Talks to the server. The token is kept in this variable and nowhere else.

let token = "";

export class Problem extends Error {
  constructor(status, error, message) {
    super(message);
    this.status = status;
    this.error = error;
  }
}

export function useToken(value) {
  token = value;
}

function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function problemOf(response) {
  const said = await response.json().catch(() => ({}));
  return new Problem(response.status, said.error ?? "failed", said.message ?? `The server answered ${response.status}.`);
}

export async function get(path) {
  const response = await fetch(path, { headers: authorization() });
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

function body(files) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return form;
}

const wait = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(new Problem(0, "stopped", "Stopped."))));
  });

// Sends files, tells of progress from 0 to 1, and tries again where the server says that it is busy.
export async function post(path, files, { onProgress = () => {}, onBusy = () => {}, signal, as = "json" } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await send(path, body(files), onProgress, signal, as);
    } catch (problem) {
      const mayHelp = (problem.status === 503 && problem.error === "busy") || problem.status === 429;
      if (!mayHelp || attempt >= 30) throw problem;
      onBusy(problem.message);
      await wait(Math.max(1, problem.after) + Math.random(), signal);
    }
  }
}

function send(path, form, onProgress, signal, as) {
  // XMLHttpRequest, since fetch does not tell how much was sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    if (as !== "json") request.responseType = "blob"; // of which a refusal is read below, too
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", async () => {
      const text = as === "json" ? request.responseText : "";
      if (request.status === 200) return resolve(as === "json" ? JSON.parse(text) : request.response);
      let said = {};
      try { said = JSON.parse(text || (await request.response.text())); } catch { /* not ours */ }
      const problem = new Problem(request.status, said.error ?? "failed", said.message ?? `The server answered ${request.status}.`);
      problem.after = Number(request.getResponseHeader("Retry-After")) || 2;
      reject(problem);
    });
    request.addEventListener("error", () => reject(new Problem(0, "unreachable", "The server cannot be reached.")));
    request.addEventListener("abort", () => reject(new Problem(0, "stopped", "Stopped.")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
