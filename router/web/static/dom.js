// Building the page from data. Text only ever becomes text nodes: nothing here or elsewhere parses markup.

/** An element with properties (`class`, `onclick`, ARIA and other attributes) and children (nodes or strings). */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Show or hide without touching anything else. */
export function show(node, visible) {
  node.hidden = !visible;
}

/** Set text only when it differs, so that screen readers are not told twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** "14:05" for today, with the day before that otherwise. `at` is in seconds since the epoch. */
export function clock(at, now = new Date()) {
  const date = new Date(at * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === now.toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}
