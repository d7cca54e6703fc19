// What this tab remembers over a reload: the token, the agent on show, drafts and messages not sent yet.
// sessionStorage only: it ends with the tab and no other tab or site can read it.

function read(name, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(name, value) {
  try {
    if (value === null || value === "") sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Storage may be switched off or full: then a reload forgets.
  }
}

export const token = { read: () => read("token", ""), write: (value) => write("token", value) };
export const agent = { read: () => read("agent", ""), write: (value) => write("agent", value) };

export const draft = {
  read: (id) => read(`draft:${id}`, ""),
  write: (id, text) => write(`draft:${id}`, text),
};

/** Messages typed here that the gateway has not taken yet: [{key, agent, text, at}]. */
export const unsent = {
  read: () => read("unsent", []),
  add: (message) => write("unsent", [...unsent.read(), message].slice(-50)),
  remove: (key) => write("unsent", unsent.read().filter((message) => message.key !== key)),
};

/** `#token=…&agent=…` of the address; the token is taken out of the address bar and the history at once. */
export function readFragment() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const found = { token: fields.get("token") ?? "", agent: fields.get("agent") ?? "" };
  if (fields.has("token")) writeFragment(found.agent);
  return found;
}

export function writeFragment(id) {
  history.replaceState(null, "", id ? `/#agent=${encodeURIComponent(id)}` : "/");
}

/** A name for one message that no other message has. (`crypto.randomUUID` is missing on plain http in a network.) */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
