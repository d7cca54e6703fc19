// The list of agents and the state of the channels.

import { el } from "./dom.js";

const STATES = { ready: "", starting: "starting", trouble: "in trouble" };

export const faceOf = (agent) => agent.emoji || (agent.name || agent.id).trim().slice(0, 1).toUpperCase();

export function renderAgents(list, agents, current, choose) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.agent : null;
  list.replaceChildren(...agents.map((agent) => agentItem(agent, current, choose)));
  if (focused) list.querySelector(`[data-agent="${CSS.escape(focused)}"]`)?.focus();
}

function agentItem(agent, current, choose) {
  const chosen = agent.id === current;
  const state = STATES[agent.state] ?? agent.state;
  const button = el(
    "button",
    { type: "button", class: "agent", "data-agent": agent.id, "aria-current": chosen && "true", onclick: () => choose(agent.id) },
    el("span", { class: "face", "aria-hidden": "true" }, faceOf(agent)),
    el("bdi", { class: "grow" }, agent.name || agent.id),
  );
  if (state) button.append(el("span", { class: `tag ${agent.state}`, title: agent.detail || null }, state));
  return el("li", {}, button);
}

export function renderChannels(list, accounts) {
  const nodes = accounts.length ? accounts.map(accountItem) : [el("li", { class: "muted small" }, "Only this page. Add a bot with openclaw channels login.")];
  list.replaceChildren(...nodes);
}

function accountItem(account) {
  const { word, kind } = accountState(account);
  const name = account.account === "default" ? account.channel : `${account.channel} · ${account.account}`;
  const item = el("li", { class: "account" }, el("span", { class: `dot ${kind}`, "aria-hidden": "true" }));
  const text = el("div", {}, el("bdi", { class: "name" }, name), el("span", { class: "muted" }, ` ${word}`));
  if (account.login) text.append(el("bdi", { class: "muted small line" }, account.login));
  if (account.error && !account.connected) text.append(el("bdi", { class: "why small line" }, account.error));
  item.append(text);
  return item;
}

/** Colour never carries the meaning alone: the word is always there. */
function accountState(account) {
  if (!account.enabled) return { word: "off", kind: "off" };
  if (!account.configured) return { word: "not configured", kind: "off" };
  if (account.connected) return { word: "connected", kind: "good" };
  return { word: account.running ? "disconnected" : "stopped", kind: "bad" };
}
