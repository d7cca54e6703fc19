// What is known of one agent's conversation: a list of turns, made from history, live events and what was typed here.
// No page and no network in this file.
//
// A turn is one message and everything said to it:
//   {name, id, key, user: {text, at, sender, channel} | null, parts, open, doing, outcome, error, delivery, problem}
// `name` never changes (the view keys on it), `id` is the gateway's id once known, `key` ours for a message typed here.
// `delivery`: "" when the gateway has it, else "sending", "waiting" (will be sent again) or "refused".
// A part is {kind: "text", seq, text, final, at} or {kind: "tool", text, at}.

const MAX_TURNS = 400;

let names = 0;

function newTurn(fields) {
  const blank = {
    id: "", key: "", user: null, parts: [], open: false, doing: null, outcome: "", error: "", delivery: "", problem: null,
    epoch: 0,
  };
  return { ...blank, name: `turn-${++names}`, ...fields };
}

export class Conversation {
  turns = [];
  /** Whether history was ever loaded, and why the last try failed. */
  loaded = false;
  problem = "";
  #epoch = 0;

  find(id) {
    return id ? this.turns.find((turn) => turn.id === id) : undefined;
  }

  /** A new connection: only what is told from now on is newer than the history that follows. */
  reconnected() {
    this.#epoch += 1;
  }

  /** A message typed here. */
  type(key, text, at) {
    const turn = newTurn({ key, user: { text, at, sender: "", channel: "webchat" }, delivery: "sending" });
    this.turns.push(turn);
    return turn;
  }

  /** The gateway has the message typed here. Its own events may have told of it already. */
  taken(turn, id) {
    const told = this.find(id);
    if (told && told !== turn) this.#remove(turn);
    const kept = told ?? turn;
    if (!told) Object.assign(kept, { id, open: true, epoch: this.#epoch });
    kept.delivery = "";
    kept.problem = null;
    return kept;
  }

  /** Forget a message that was never sent. */
  discard(turn) {
    this.#remove(turn);
  }

  #remove(turn) {
    this.turns = this.turns.filter((other) => other !== turn);
  }

  /** History and pending messages from the gateway, merged with what was told since the connection was made. */
  load({ entries, pending, problem }) {
    this.problem = problem;
    if (problem) {
      for (const message of pending) this.#await(message);
      return;
    }
    const told = this.turns;
    this.turns = [];
    this.loaded = true;
    for (const entry of entries) this.#recall(entry);
    for (const message of pending) this.#await(message);
    for (const turn of told) if (turn.delivery || turn.epoch === this.#epoch) this.#merge(turn);
    this.#forgetOldest();
  }

  #recall(entry) {
    const { role, text, at, id } = entry;
    if (role === "user") {
      const user = { text, at, sender: entry.sender, channel: entry.channel };
      const known = this.find(id);
      if (known) known.user ??= user;
      else this.turns.push(newTurn({ id, user }));
      return;
    }
    const turn = this.find(id) ?? this.#lastOr(id);
    turn.parts.push(role === "tool" ? { kind: "tool", text, at } : { kind: "text", text, at, final: true });
  }

  #lastOr(id) {
    const last = this.turns.at(-1);
    if (last && !id) return last;
    this.turns.push(newTurn({ id }));
    return this.turns.at(-1);
  }

  #await({ id, text, at }) {
    const known = this.find(id) ?? newTurn({ id });
    known.open = known.outcome === "";
    known.user ??= { text, at, sender: "", channel: "" };
    if (!this.turns.includes(known)) this.turns.push(known);
  }

  #merge(live) {
    const recalled = this.find(live.id);
    if (!recalled) {
      this.turns.push(live);
      return;
    }
    recalled.user ??= live.user;
    recalled.epoch = live.epoch;
    recalled.doing = live.doing;
    recalled.outcome = live.outcome;
    recalled.error = live.error;
    recalled.open = recalled.open && live.outcome === "";
    for (const part of live.parts) if (isNew(part, recalled.parts)) recalled.parts.push(part);
  }

  #forgetOldest() {
    if (this.turns.length > MAX_TURNS) this.turns.splice(0, this.turns.length - MAX_TURNS);
  }

  /** One live event. Returns the turn it changed, if any. */
  apply(event) {
    const handle = { UserSaid: "userSaid", Doing: "doing", Growing: "growing", Said: "said", Ended: "ended" }[event.type];
    if (!handle) return undefined;
    const turn = this[handle](event);
    if (turn) turn.epoch = this.#epoch;
    this.#forgetOldest();
    return turn;
  }

  userSaid({ id, text, at, sender, channel }) {
    const known = this.find(id) ?? this.#typedHere(text, channel);
    if (known) {
      Object.assign(known, { id, open: known.outcome === "", delivery: "", problem: null });
      known.user ??= { text, at, sender, channel };
      return known;
    }
    const turn = newTurn({ id, open: true, user: { text, at, sender, channel } });
    this.turns.push(turn);
    return turn;
  }

  /** The gateway may tell of our message before it has answered our request. */
  #typedHere(text, channel) {
    if (channel && channel !== "webchat") return undefined;
    return this.turns.find((turn) => !turn.id && turn.delivery === "sending" && turn.user.text === text);
  }

  #turnOf(id) {
    const known = this.find(id);
    if (known) return known;
    const turn = newTurn({ id, open: true });
    this.turns.push(turn);
    return turn;
  }

  doing({ id, doing, label }) {
    const turn = this.#turnOf(id);
    if (doing === "tool" && label) turn.parts.push({ kind: "tool", text: label, at: 0, live: true });
    turn.doing = { doing, label };
    return turn;
  }

  growing({ id, seq, offset, text }) {
    const turn = this.#turnOf(id);
    const part = this.#part(turn, seq);
    if (part.final) return turn;
    grow(part, offset, text);
    turn.doing = null;
    return turn;
  }

  said({ id, seq, text, at }) {
    const turn = this.#turnOf(id);
    const recalled = turn.parts.find((part) => part.kind === "text" && part.seq === undefined && part.text === text);
    if (recalled) recalled.seq = seq;
    Object.assign(this.#part(turn, seq), { text, at, final: true });
    return turn;
  }

  #part(turn, seq) {
    let part = turn.parts.find((other) => other.kind === "text" && other.seq === seq);
    if (!part) {
      part = { kind: "text", seq, text: "", final: false, at: 0 };
      turn.parts.push(part);
    }
    return part;
  }

  ended({ id, outcome, error }) {
    const turn = this.find(id);
    if (!turn) return undefined;
    Object.assign(turn, { open: false, doing: null, outcome, error });
    for (const part of turn.parts) if (part.kind === "text") part.final = true;
    return turn;
  }
}

/** Whether a part told live is not in the history yet. A tool's live label is only shown until the history tells. */
function isNew(part, recalled) {
  if (part.kind === "tool") return !recalled.some((other) => other.kind === "tool");
  return !recalled.some((other) => other.kind === "text" && covers(other.text, part));
}

const covers = (text, part) => (part.final ? text === part.text : text.startsWith(part.text));

/** Put `text` at code point `offset` of a growing part; what was missed is shown as an ellipsis. */
export function grow(part, offset, text) {
  const next = part.next ?? 0;
  if (offset > next) {
    part.text += part.text ? ` … ${text}` : `… ${text}`;
    part.gap = true;
  } else if (offset === next) {
    part.text += text;
  } else {
    part.text = part.gap ? `${offset ? "… " : ""}${text}` : Array.from(part.text).slice(0, offset).join("") + text;
    part.gap = part.gap && offset > 0;
  }
  part.next = offset + Array.from(text).length;
}
