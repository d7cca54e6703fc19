// The page: ties token, connection, conversation and view together. Every decision about text and order lives elsewhere.

import { Api } from "./api.js";
import { Conversation } from "./conversation.js";
import { byId, el, setText, show } from "./dom.js";
import { Link } from "./link.js";
import * as memory from "./memory.js";
import { Post } from "./post.js";
import { faceOf, renderAgents, renderChannels } from "./side.js";
import { ConversationView } from "./view.js";

/** Milliseconds: between looks at agents and channels, and until a hidden tab lets go of its connection. */
const LOOK = 20_000;
const HIDDEN = 60_000;
const HISTORY_PAUSES = [3000, 6000, 12000, 30000];
const SUGGESTIONS = ["What can you do?", "/tools", "/help"];
/** Distance from the end, in pixels, within which the reader is taken to be at the end. */
const NEAR = 80;

class Desk {
  #api;
  #link;
  #post;
  #view;
  #agents = [];
  #current = "";
  #conversations = new Map();
  #status = { state: "connecting" };
  #frame = 0;
  #ticks = 0;
  #timers = {};
  #ended = new AbortController();

  constructor(api, refused) {
    this.#api = api;
    const end = (problem) => {
      this.end();
      refused(problem);
    };
    this.#link = new Link(api, {
      open: () => this.#opened(),
      event: (event) => this.#heard(event),
      status: (status) => this.#tellStatus(status),
      refused: end,
    });
    this.#post = new Post(api, {
      taken: (agent, turn, id) => this.#taken(agent, turn, id),
      failed: (problem) => this.#sendLater(problem),
      refused: end,
    });
    this.#view = new ConversationView(byId("log"), {
      retry: (turn) => this.#sendAgain(turn),
      discard: (turn) => this.#discard(turn),
    });
  }

  /** Everything is in the answer already received, so that a wrong token shows before the desk does. */
  begin({ agents }, wanted) {
    this.#agents = agents;
    for (const { key, agent, text, at } of memory.unsent.read()) {
      if (agents.some(({ id }) => id === agent)) this.#post.send(agent, this.#of(agent).type(key, text, at));
    }
    this.#listen();
    const known = [wanted, memory.agent.read()].find((id) => agents.some((agent) => agent.id === id));
    const first = known ?? (agents.find((agent) => agent.is_default) ?? agents[0])?.id;
    if (first) this.choose(first);
    else this.#tellBanner("No agent is configured. Add one with: openclaw agents add main");
    this.#look();
  }

  end() {
    this.#link.stop();
    this.#ended.abort();
    cancelAnimationFrame(this.#frame);
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
  }

  get agents() {
    return this.#agents;
  }

  choose(id) {
    closeMenu();
    if (id === this.#current && this.#link.running) return;
    this.#saveDraft();
    this.#current = id;
    memory.agent.write(id);
    memory.writeFragment(id);
    this.#view.reset(faceOf(this.#agent()));
    this.#drawAgent();
    byId("text").value = memory.draft.read(id);
    fitText();
    this.#drawNow();
    scrollToEnd();
    this.#link.watch(id);
    if (!matchMedia("(pointer: coarse)").matches) byId("text").focus();
  }

  // --- what the reader does -------------------------------------------------------------------------------------

  #listen() {
    const options = { signal: this.#ended.signal };
    byId("composer").addEventListener("submit", (event) => this.#submit(event), options);
    byId("text").addEventListener("keydown", (event) => this.#key(event), options);
    byId("text").addEventListener("input", () => fitText(), options);
    byId("again").addEventListener("click", () => this.#link.hurry(), options);
    addEventListener("online", () => this.#link.hurry(), options);
    addEventListener("pagehide", () => this.#saveDraft(), options);
    document.addEventListener("visibilitychange", () => this.#visibility(), options);
  }

  #key(event) {
    // While an input method composes (Korean, Japanese, Chinese), Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit(event);
  }

  #submit(event) {
    event.preventDefault();
    const text = byId("text").value;
    if (!text.trim() || !this.#current) return;
    byId("text").value = "";
    memory.draft.write(this.#current, "");
    fitText();
    const message = { key: memory.newKey(), agent: this.#current, text, at: Date.now() / 1000 };
    memory.unsent.add(message);
    this.#post.send(this.#current, this.#of(this.#current).type(message.key, text, message.at));
    this.#drawNow();
    scrollToEnd();
  }

  #sendAgain(turn) {
    this.#post.send(this.#ownerOf(turn), turn);
    this.#draw();
  }

  #discard(turn) {
    this.#post.drop(turn);
    this.#of(this.#ownerOf(turn)).discard(turn);
    this.#draw();
  }

  #ownerOf(turn) {
    for (const [agent, conversation] of this.#conversations) if (conversation.turns.includes(turn)) return agent;
    return this.#current;
  }

  #saveDraft() {
    if (this.#current) memory.draft.write(this.#current, byId("text").value);
  }

  /** A tab nobody looks at gives its connection back, unless an answer is awaited. */
  #visibility() {
    clearTimeout(this.#timers.hidden);
    if (document.hidden) {
      this.#timers.hidden = setTimeout(() => this.#sleep(), HIDDEN);
      return;
    }
    document.title = this.#title();
    if (!this.#link.running && this.#current) this.#link.watch(this.#current);
    this.#link.hurry();
    this.#look();
  }

  #sleep() {
    if (!document.hidden) return;
    if (this.#of(this.#current).turns.some((turn) => turn.open)) this.#timers.hidden = setTimeout(() => this.#sleep(), HIDDEN);
    else this.#link.stop();
  }

  // --- what the gateway tells -----------------------------------------------------------------------------------

  #opened() {
    this.#of(this.#current).reconnected();
    this.#loadHistory(this.#current, 0);
    this.#sendWaiting();
    this.#look();
  }

  /** Without a connection the next one sends what waits; with one, time does. */
  #sendLater(problem) {
    this.#draw();
    if (this.#ended.signal.aborted) return;
    clearTimeout(this.#timers.send);
    this.#timers.send = setTimeout(() => this.#status.state === "open" && this.#sendWaiting(), (problem.retryAfter || 5) * 1000);
  }

  #sendWaiting() {
    for (const [agent, conversation] of this.#conversations) {
      for (const turn of conversation.turns) if (turn.delivery === "waiting") this.#post.send(agent, turn);
    }
    this.#draw();
  }

  async #loadHistory(agent, tries) {
    clearTimeout(this.#timers.history);
    const conversation = this.#of(agent);
    let problem = "";
    try {
      const history = await this.#api.history(agent);
      if (this.#ended.signal.aborted) return;
      conversation.load(history);
      problem = history.problem;
    } catch (error) {
      problem = error.message;
    }
    if (agent !== this.#current || this.#ended.signal.aborted) return;
    conversation.problem = problem;
    this.#draw();
    if (!problem || this.#status.state !== "open") return;
    const pause = HISTORY_PAUSES[Math.min(tries, HISTORY_PAUSES.length - 1)];
    this.#timers.history = setTimeout(() => this.#loadHistory(agent, tries + 1), pause);
  }

  #heard(event) {
    if (event.type === "AgentState") {
      this.#agents = this.#agents.map((agent) => (agent.id === event.agent.id ? event.agent : agent));
      this.#drawAgent();
      return;
    }
    this.#of(this.#current).apply(event);
    if (document.hidden && event.type === "Said") document.title = `● ${this.#title()}`;
    this.#draw();
  }

  #taken(agent, turn, id) {
    this.#of(agent).taken(turn, id);
    this.#draw();
  }

  /** Agents and channels as they are now, and again after a while as long as somebody looks. */
  async #look() {
    clearTimeout(this.#timers.look);
    if (document.hidden || this.#ended.signal.aborted) return;
    try {
      const [{ agents }, { accounts }] = await Promise.all([this.#api.agents(), this.#api.channels()]);
      if (this.#ended.signal.aborted) return;
      this.#agents = agents;
      this.#drawAgent();
      renderChannels(byId("channels"), accounts);
      const down = accounts.filter((account) => account.enabled && account.configured && !account.connected).length;
      byId("menu").classList.toggle("alert", down > 0);
    } catch {
      // The connection's own status says that the gateway is away.
    }
    clearTimeout(this.#timers.look);
    this.#timers.look = setTimeout(() => this.#look(), LOOK);
  }

  // --- what is shown --------------------------------------------------------------------------------------------

  #of(agent) {
    if (!this.#conversations.has(agent)) this.#conversations.set(agent, new Conversation());
    return this.#conversations.get(agent);
  }

  #agent() {
    return this.#agents.find(({ id }) => id === this.#current) ?? { id: this.#current, name: this.#current, state: "ready" };
  }

  #title() {
    return `${this.#agent().name || this.#current} · OpenClaw Control`;
  }

  #drawAgent() {
    const agent = this.#agent();
    renderAgents(byId("agents"), this.#agents, this.#current, (id) => this.choose(id));
    setText(byId("face"), faceOf(agent));
    setText(byId("name"), agent.name || agent.id);
    if (!document.hidden) document.title = this.#title();
    byId("text").placeholder = `Message ${agent.name || agent.id}`;
    this.#drawBanner();
  }

  #drawBanner() {
    const agent = this.#agent();
    const { problem } = this.#of(this.#current);
    if (agent.state === "trouble") this.#tellBanner(`${agent.name || agent.id} is in trouble${agent.detail ? `: ${agent.detail}` : ""}`);
    else if (problem) this.#tellBanner(`Earlier messages cannot be shown at the moment: ${problem}. Trying again.`);
    else this.#tellBanner("");
  }

  #tellBanner(text) {
    setText(byId("banner"), text);
    show(byId("banner"), text !== "");
  }

  /** Live text comes faster than anybody reads: once a frame is enough. */
  #draw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const follow = atEnd();
    const conversation = this.#of(this.#current);
    const empty = conversation.loaded ? this.#welcome() : null;
    this.#view.render(conversation, empty);
    this.#drawBanner();
    if (follow) scrollToEnd();
    else show(byId("latest"), true);
  }

  #welcome() {
    const agent = this.#agent();
    const chips = SUGGESTIONS.map((text) => el("button", { type: "button", class: "chip", onclick: () => suggest(text) }, text));
    return el(
      "div",
      { class: "empty" },
      el("span", { class: "face big", "aria-hidden": "true" }, faceOf(agent)),
      el("h2", {}, "Say hello to ", el("bdi", {}, agent.name || agent.id)),
      el("p", { class: "muted" }, "This is its main conversation: what you write here it remembers in its other chats with you, too."),
      el("div", { class: "chips" }, ...chips),
      el("p", { class: "muted small" }, "No model connected yet? The built-in offline model answers, runs simple tools, and tells you what to type to connect a real one."),
    );
  }

  #tellStatus(status) {
    this.#status = status;
    clearInterval(this.#ticks);
    this.#drawStatus();
    if (status.state === "waiting") this.#ticks = setInterval(() => this.#drawStatus(), 1000);
    this.#ended.signal.addEventListener("abort", () => clearInterval(this.#ticks), { once: true });
  }

  #drawStatus() {
    const { state, problem, until } = this.#status;
    byId("status").className = state;
    show(byId("again"), state === "waiting");
    byId("status").title = problem?.message ?? "";
    if (state === "open") return setText(byId("status-text"), "Connected");
    if (state === "connecting") return setText(byId("status-text"), "Connecting…");
    const seconds = Math.max(1, Math.round((until - Date.now()) / 1000));
    return setText(byId("status-text"), `Reconnecting in ${seconds} s`);
  }
}

// --- parts of the page that know no desk --------------------------------------------------------------------------

function atEnd() {
  const box = byId("scroll");
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
}

function scrollToEnd() {
  const box = byId("scroll");
  box.scrollTop = box.scrollHeight;
  show(byId("latest"), false);
}

function fitText() {
  const text = byId("text");
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
  byId("send").disabled = !text.value.trim();
}

function suggest(text) {
  byId("text").value = text;
  fitText();
  byId("text").focus();
}

function openMenu() {
  document.body.classList.add("menu-open");
  byId("menu").setAttribute("aria-expanded", "true");
  show(byId("shade"), true);
  byId("agents").querySelector("[aria-current]")?.focus();
}

function closeMenu() {
  if (!document.body.classList.contains("menu-open")) return;
  document.body.classList.remove("menu-open");
  byId("menu").setAttribute("aria-expanded", "false");
  show(byId("shade"), false);
  byId("menu").focus();
}

function askToken(message) {
  memory.token.write("");
  show(byId("desk"), false);
  show(byId("door"), true);
  byId("token-problem").textContent = message;
  byId("token").focus();
}

let desk = null;

/** Tries a token: opens the desk, or asks for another with the reason. */
async function enter(token, wanted) {
  desk?.end();
  desk = null;
  // Kept before it is known to be right: a reload while the gateway is away must not lose it.
  memory.token.write(token);
  const api = new Api(token);
  let found;
  try {
    found = await api.agents();
  } catch (problem) {
    if (problem.temporary && problem.status !== 429) return enterLater(token, wanted, problem);
    return askToken(describe(problem));
  }
  byId("token").value = "";
  show(byId("door"), false);
  show(byId("desk"), true);
  desk = new Desk(api, (problem) => askToken(describe(problem, true)));
  desk.begin(found, wanted);
}

/** The gateway is away, so nothing is known of the token: keep it and try again. */
function enterLater(token, wanted, problem) {
  show(byId("door"), true);
  byId("token").value = token;
  byId("token-problem").textContent = `${sentence(problem.message)}. Trying again…`;
  setTimeout(() => {
    if (!desk && byId("token").value === token) enter(token, wanted);
  }, 2000);
}

function describe(problem, before = false) {
  if (problem.status === 401) return before ? "The token has changed. Enter the new one." : "That token was not accepted.";
  if (problem.status === 429) return `Too many failed attempts. Try again in ${problem.retryAfter || 60} s.`;
  return `${sentence(problem.message)}${problem.hint ? ` (${problem.hint})` : ""}.`;
}

const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

function begin() {
  const { token, agent } = memory.readFragment();
  const known = token || memory.token.read();
  if (known) enter(known, agent);
  else askToken("");
}

byId("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("token-problem").textContent = "";
  enter(byId("token").value.trim(), "");
});
byId("menu").addEventListener("click", openMenu);
byId("shade").addEventListener("click", closeMenu);
byId("latest").addEventListener("click", scrollToEnd);
byId("scroll").addEventListener("scroll", () => atEnd() && show(byId("latest"), false), { passive: true });
document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenu());
addEventListener("hashchange", () => {
  const { token, agent } = memory.readFragment();
  if (token) enter(token, agent);
  else if (desk?.agents.some(({ id }) => id === agent)) desk.choose(agent);
});
begin();
