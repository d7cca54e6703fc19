// Talking to the gateway that served this page, and to nothing else: every address is a constant path.

const TIMEOUT = 40_000;
/** The server says something every 15 s; silence for this long means the connection is dead. */
const SILENCE = 40_000;

/** An answer that is not a success. `status` 0: nobody answered. `retryAfter` in seconds. */
export class Problem extends Error {
  constructor(status, message, { type = "", hint = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.type = type;
    this.hint = hint;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  agents() {
    return this.#ask("/api/agents");
  }

  channels() {
    return this.#ask("/api/channels");
  }

  history(agent) {
    return this.#ask(`${agentPath(agent)}/history`);
  }

  submit(agent, text, key) {
    return this.#ask(`${agentPath(agent)}/messages`, { method: "POST", body: JSON.stringify({ text, key }) });
  }

  /** Connects to an agent's event stream; gives an async iterator of events. Throws Problem. */
  async open(agent, signal) {
    const silence = new Silence(signal);
    const response = await this.#fetch(`${agentPath(agent)}/events`, { signal: silence.signal });
    if (!response.ok) throw await readProblem(response);
    return readLines(response.body.getReader(), silence);
  }

  async #ask(path, options = {}) {
    const response = await this.#fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
    if (!response.ok) throw await readProblem(response);
    return response.json();
  }

  async #fetch(path, options) {
    const headers = { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json" };
    const fixed = { headers, credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" };
    try {
      return await fetch(path, { ...fixed, ...options });
    } catch {
      throw new Problem(0, "the gateway does not answer");
    }
  }
}

const agentPath = (agent) => `/api/agents/${encodeURIComponent(agent)}`;

async function readProblem(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // Not JSON: something between us and the gateway answered.
  }
  const message = error.message || `the gateway answered ${response.status}`;
  return new Problem(response.status, message, { type: error.type, hint: error.hint, retryAfter });
}

/** Aborts when nothing was heard for SILENCE, or when `signal` does. */
class Silence {
  #controller = new AbortController();
  #timer = 0;

  constructor(signal) {
    signal.addEventListener("abort", () => this.end(), { once: true });
    if (signal.aborted) this.end();
    this.heard();
  }

  get signal() {
    return this.#controller.signal;
  }

  heard() {
    clearTimeout(this.#timer);
    if (!this.signal.aborted) this.#timer = setTimeout(() => this.end(), SILENCE);
  }

  end() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

async function* readLines(reader, silence) {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      silence.heard();
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) yield JSON.parse(line);
    }
  } catch {
    throw new Problem(0, "the connection broke");
  } finally {
    silence.end();
  }
}
