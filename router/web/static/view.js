// The conversation on the page: one element per turn, brought up to date in place.

import { clock, el, setText, show } from "./dom.js";
import { update as updateMarkdown } from "./markdown.js";

const OUTCOMES = {
  failed: "This turn failed",
  cancelled: "Stopped",
  silent: "The agent chose not to answer",
};
const DELIVERIES = {
  sending: "Sending…",
  waiting: "Not sent yet. It goes out by itself when the gateway answers.",
  refused: "Not sent",
};

export class ConversationView {
  #log;
  #actions;
  #shown = new Map();
  #face = "";

  /** `actions.retry(turn)` and `actions.discard(turn)` are called by the buttons of an unsent message. */
  constructor(log, actions) {
    this.#log = log;
    this.#actions = actions;
  }

  /** Forget what is shown and show another conversation. */
  reset(face) {
    this.#face = face;
    this.#shown.clear();
    this.#log.replaceChildren();
  }

  /** Bring the page up to date: new turns appear, gone ones leave, order is kept. */
  render(conversation, empty) {
    const names = new Set(conversation.turns.map((turn) => turn.name));
    for (const [name, shown] of this.#shown) {
      if (!names.has(name)) {
        shown.node.remove();
        this.#shown.delete(name);
      }
    }
    conversation.turns.forEach((turn, place) => this.#place(turn, place));
    this.#renderEmpty(conversation.turns.length === 0 && empty);
  }

  #place(turn, place) {
    let shown = this.#shown.get(turn.name);
    if (!shown) {
      shown = new TurnView(this.#face, this.#actions);
      this.#shown.set(turn.name, shown);
    }
    shown.render(turn);
    const there = this.#log.children[place];
    if (there !== shown.node) this.#log.insertBefore(shown.node, there ?? null);
  }

  #renderEmpty(empty) {
    const there = this.#log.querySelector(".empty");
    if (there) there.remove();
    if (empty) this.#log.append(empty);
  }
}

class TurnView {
  node = el("article", { class: "turn" });
  #face;
  #actions;
  #user = null;
  #answer = el("div", { class: "answer" });
  #parts = el("div", { class: "parts" });
  #activity = el("p", { class: "activity" }, el("span", { class: "pulse", "aria-hidden": "true" }), el("span"));
  #note = el("p", { class: "note" });
  #partViews = [];

  constructor(face, actions) {
    this.#face = face;
    this.#actions = actions;
    const icon = el("span", { class: "face", "aria-hidden": "true" }, this.#face);
    this.#answer.append(icon, el("div", { class: "body" }, this.#parts, this.#activity, this.#note));
    this.node.append(this.#answer);
  }

  render(turn) {
    this.node.setAttribute("aria-busy", String(turn.open));
    this.#renderUser(turn);
    this.#renderParts(turn.parts);
    this.#renderActivity(turn);
    this.#renderNote(turn);
    show(this.#answer, turn.parts.length > 0 || !this.#activity.hidden || !this.#note.hidden);
  }

  #renderUser(turn) {
    if (!turn.user) return;
    if (!this.#user) {
      this.#user = new UserView(turn, this.#actions);
      this.node.prepend(this.#user.node);
    }
    this.#user.render(turn);
  }

  #renderParts(parts) {
    while (this.#partViews.length > parts.length) this.#partViews.pop().node.remove();
    parts.forEach((part, place) => {
      let view = this.#partViews[place];
      if (view?.kind !== part.kind) {
        view?.node.remove();
        view = part.kind === "tool" ? new ToolView() : new TextView();
        this.#partViews[place] = view;
        this.#parts.insertBefore(view.node, this.#parts.children[place] ?? null);
      }
      view.render(part);
    });
  }

  #renderActivity(turn) {
    const growing = turn.parts.some((part) => part.kind === "text" && !part.final);
    show(this.#activity, turn.open && !growing);
    setText(this.#activity.lastChild, turn.doing?.doing === "tool" ? "Working…" : turn.doing ? "Thinking…" : "Waiting…");
  }

  #renderNote(turn) {
    const text = OUTCOMES[turn.outcome] ?? "";
    show(this.#note, text !== "");
    this.#note.classList.toggle("bad", turn.outcome === "failed");
    setText(this.#note, turn.error ? `${text}: ${turn.error}` : text);
  }
}

class UserView {
  node = el("div", { class: "asked" });
  #text = el("div", { class: "bubble", dir: "auto" });
  #from = el("p", { class: "from" });
  #state = el("p", { class: "state", role: "status" });

  constructor(turn, actions) {
    const { sender, channel, at } = turn.user;
    this.#from.append(el("span", { class: "hidden" }, sender ? "" : "You, "));
    if (sender) this.#from.append(el("bdi", {}, sender), " · ");
    if (channel && channel !== "webchat") this.#from.append(el("bdi", {}, channel), " · ");
    this.#from.append(el("time", {}, clock(at)));
    const retry = el("button", { type: "button", class: "link", onclick: () => actions.retry(turn) }, "Send again");
    const discard = el("button", { type: "button", class: "link", onclick: () => actions.discard(turn) }, "Remove");
    this.#state.append(el("span"), retry, discard);
    this.node.append(this.#from, this.#text, this.#state);
  }

  render(turn) {
    setText(this.#text, turn.user.text);
    const [text, retry, discard] = this.#state.children;
    const failed = turn.delivery === "waiting" || turn.delivery === "refused";
    show(this.#state, turn.delivery !== "");
    show(retry, failed);
    show(discard, failed);
    this.node.classList.toggle("unsent", turn.delivery !== "");
    this.#state.classList.toggle("bad", turn.delivery === "refused");
    const reason = turn.delivery === "refused" && turn.problem ? `: ${turn.problem}` : "";
    setText(text, `${DELIVERIES[turn.delivery] ?? ""}${reason}`);
  }
}

class TextView {
  kind = "text";
  node = el("div", { class: "text" });
  #text = null;

  render({ text, final, at }) {
    this.node.classList.toggle("growing", !final);
    if (at && !this.node.title) this.node.title = clock(at);
    if (text === this.#text) return;
    this.#text = text;
    updateMarkdown(this.node, text);
  }
}

class ToolView {
  kind = "tool";
  node = el("details", { class: "tool" });
  #text = null;

  render({ text }) {
    if (text === this.#text) return;
    this.#text = text;
    const line = text.split("\n", 1)[0].slice(0, 200);
    const more = line !== text;
    this.node.classList.toggle("flat", !more);
    this.node.replaceChildren(el("summary", { tabindex: more ? undefined : "-1" }, line));
    if (more) this.node.append(el("pre", { tabindex: "0" }, text));
  }
}
