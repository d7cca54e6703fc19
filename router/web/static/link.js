// One live connection to the agent on show, made again with growing pauses whenever it breaks.

const PAUSES = [500, 1000, 2000, 4000, 8000, 15000, 30000];

/**
 * Calls `on.open()` at each new connection, `on.event(event)` for each event, `on.status(status)` when that changes:
 * {state: "connecting" | "open"} or {state: "waiting", problem, until} with `until` in ms since the epoch.
 * A refused token ends it with `on.refused(problem)`.
 */
export class Link {
  #api;
  #on;
  #current = null;
  #wake = () => {};

  constructor(api, on) {
    this.#api = api;
    this.#on = on;
  }

  watch(agent) {
    this.stop();
    this.#current = new AbortController();
    this.#run(agent, this.#current.signal);
  }

  stop() {
    this.#current?.abort();
    this.#current = null;
    this.#wake();
  }

  get running() {
    return this.#current !== null;
  }

  /** Do not wait for the end of the pause. */
  hurry() {
    this.#wake();
  }

  async #run(agent, signal) {
    let failures = 0;
    while (!signal.aborted) {
      this.#on.status({ state: "connecting" });
      const problem = await this.#connect(agent, signal, () => (failures = 0));
      if (signal.aborted) return;
      if (problem.status === 401) return this.#on.refused(problem);
      await this.#pause(problem, failures++);
    }
  }

  /** One connection from beginning to end; returns why it ended. */
  async #connect(agent, signal, opened) {
    try {
      const events = await this.#api.open(agent, signal);
      if (signal.aborted) return null;
      opened();
      this.#on.status({ state: "open" });
      this.#on.open();
      for await (const event of events) {
        if (signal.aborted) return null;
        this.#on.event(event);
      }
      return { status: 0, message: "the gateway closed the connection", retryAfter: 0 };
    } catch (problem) {
      if (problem.status !== undefined) return problem;
      console.error(problem);
      return { status: 0, message: "this page made a mistake", retryAfter: 0 };
    }
  }

  async #pause(problem, failures) {
    const least = PAUSES[Math.min(failures, PAUSES.length - 1)];
    // A little chance keeps many pages from coming back in the same instant.
    const pause = Math.max(least * (0.8 + Math.random() * 0.4), problem.retryAfter * 1000);
    this.#on.status({ state: "waiting", problem, until: Date.now() + pause });
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, pause);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }
}
