// Messages on their way to the gateway: one at a time in the order typed, each under its own key, so that sending again
// after a lost answer is harmless.

import { unsent } from "./memory.js";

export class Post {
  #api;
  #on;
  #queue = [];
  #busy = false;

  /** `on.taken(agent, turn, id)`, `on.failed(problem)`, and `on.refused(problem)` for a bad token. */
  constructor(api, on) {
    this.#api = api;
    this.#on = on;
  }

  send(agent, turn) {
    turn.delivery = "sending";
    turn.problem = null;
    this.#queue.push({ agent, turn });
    this.#work();
  }

  drop(turn) {
    unsent.remove(turn.key);
    this.#queue = this.#queue.filter((item) => item.turn !== turn);
  }

  async #work() {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#queue.length) {
      const item = this.#queue.shift();
      try {
        const { id } = await this.#api.submit(item.agent, item.turn.user.text, item.turn.key);
        unsent.remove(item.turn.key);
        this.#on.taken(item.agent, item.turn, id);
      } catch (problem) {
        this.#fail(item, problem);
      }
    }
    this.#busy = false;
  }

  /** Those behind it wait too: their order matters more than their speed. */
  #fail(item, problem) {
    const later = problem.temporary || problem.status === 401;
    const failed = later ? [item, ...this.#queue.splice(0)] : [item];
    for (const { turn } of failed) {
      turn.delivery = later ? "waiting" : "refused";
      turn.problem = problem.hint ? `${problem.message} (${problem.hint})` : problem.message;
    }
    if (problem.status === 401) this.#on.refused(problem);
    else this.#on.failed(problem);
  }
}
