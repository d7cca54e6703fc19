// Markdown as models write it, to DOM nodes. The text is hostile: it becomes text nodes and a fixed set of elements,
// never markup; links go to http and https only and are not followed by themselves; images are shown as links.
//
// Two steps. `splitBlocks` cuts the source into blocks; `update` renders those that changed since the last time, so that
// growing text costs its last block only. Every loop moves forward and nesting is bounded.

import { el } from "./dom.js";

const MAX_DEPTH = 6;
/** Longer texts are shown as they are. */
const MAX_LENGTH = 200_000;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^( *)([-*+•]|\d{1,9}[.)]) +(.*)$/;
const TABLE_RULE = /^ *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;

/** Show `text` in `container`; blocks that did not change since the last call are left alone. */
export function update(container, text) {
  const sources = text.length > MAX_LENGTH ? [text] : splitBlocks(text.split("\n"));
  const known = container.shownBlocks ?? [];
  let same = 0;
  while (same < known.length && same < sources.length && known[same] === sources[same]) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const source of sources.slice(same)) container.append(text.length > MAX_LENGTH ? plain(source) : block(source, 0));
  container.shownBlocks = sources;
}

const plain = (text) => el("p", { class: "plain" }, text);

/** The source of each top-level block. */
export function splitBlocks(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const end = endOfBlock(lines, at);
    blocks.push(lines.slice(at, end).join("\n"));
    at = end;
  }
  return blocks;
}

function endOfBlock(lines, start) {
  const first = lines[start];
  const fence = FENCE.exec(first);
  if (fence) return endOfFence(lines, start + 1, fence[1]);
  if (HEADING.test(first) || RULE.test(first)) return start + 1;
  if (QUOTE.test(first)) return endWhile(lines, start, (line) => QUOTE.test(line));
  if (ITEM.test(first)) return endOfList(lines, start);
  if (isTable(lines, start)) return endWhile(lines, start, (line) => line.includes("|"));
  return endOfParagraph(lines, start);
}

function endWhile(lines, start, belongs) {
  let at = start + 1;
  while (at < lines.length && belongs(lines[at])) at += 1;
  return at;
}

/** A fence that is not closed (yet) reaches to the end. */
function endOfFence(lines, start, mark) {
  let at = start;
  while (at < lines.length && !closesFence(lines[at], mark)) at += 1;
  return Math.min(at + 1, lines.length);
}

function closesFence(line, mark) {
  const bare = line.trim();
  return bare.length >= mark.length && bare[0] === mark[0] && bare === mark[0].repeat(bare.length);
}

/** Items, their indented lines, and single blank lines between them; fences inside are kept whole. */
function endOfList(lines, start) {
  let at = start;
  while (at < lines.length) {
    const fence = /^\s/.test(lines[at]) ? FENCE.exec(lines[at].trim()) : null;
    if (fence) {
      at = endOfFence(lines, at + 1, fence[1]);
      continue;
    }
    const goesOn = ITEM.test(lines[at]) || /^\s+\S/.test(lines[at]) || isLazy(lines, at, start);
    const bridges = !lines[at].trim() && at + 1 < lines.length && (ITEM.test(lines[at + 1]) || /^\s+\S/.test(lines[at + 1]));
    if (!goesOn && !bridges) return at;
    at += 1;
  }
  return at;
}

/** An unindented line that goes on with the text of an item. */
const isLazy = (lines, at, start) => at > start && lines[at].trim() !== "" && lines[at - 1].trim() !== "" && !startsBlock(lines, at);

function endOfParagraph(lines, start) {
  let at = start + 1;
  while (at < lines.length && lines[at].trim() && !startsBlock(lines, at)) at += 1;
  return at;
}

function startsBlock(lines, at) {
  const line = lines[at];
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((kind) => kind.test(line)) || isTable(lines, at);
}

const isTable = (lines, at) =>
  lines[at].includes("|") && at + 1 < lines.length && lines[at + 1].includes("|") && TABLE_RULE.test(lines[at + 1]);

function block(source, depth) {
  const lines = source.split("\n");
  const fence = FENCE.exec(lines[0]);
  if (fence) return codeBlock(lines, fence);
  const heading = HEADING.exec(lines[0]);
  if (heading) return el(`h${Math.min(heading[1].length + 2, 6)}`, { dir: "auto" }, ...inline(heading[2]));
  if (RULE.test(lines[0])) return el("hr");
  if (depth < MAX_DEPTH && QUOTE.test(lines[0])) return quote(lines, depth);
  if (depth < MAX_DEPTH && ITEM.test(lines[0])) return list(lines, depth);
  if (isTable(lines, 0)) return table(lines);
  return el("p", { dir: "auto" }, ...inline(source));
}

const blocks = (lines, depth) => splitBlocks(lines).map((source) => block(source, depth));

function codeBlock(lines, [, mark, info]) {
  const closed = lines.length > 1 && closesFence(lines.at(-1), mark);
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  const code = el("code", { dir: "ltr" }, text);
  const language = info.trim().split(/\s/)[0].slice(0, 24);
  const copy = el("button", { type: "button", class: "copy", onclick: () => copyText(copy, code) }, "Copy");
  const bar = el("div", { class: "code-bar" }, el("span", {}, language), copy);
  return el("div", { class: "code" }, bar, el("pre", { tabindex: "0" }, code));
}

async function copyText(button, code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Browsers offer the clipboard to https and localhost only: mark the text, so that one key copies it.
    getSelection().selectAllChildren(code);
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function quote(lines, depth) {
  return el("blockquote", {}, ...blocks(lines.map((line) => QUOTE.exec(line)[1]), depth + 1));
}

function list(lines, depth) {
  const first = ITEM.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const items = splitItems(lines, first[1].length);
  const nodes = items.map((item) => el("li", { dir: "auto" }, ...itemContent(item, depth)));
  return ordered ? el("ol", { start: parseInt(first[2], 10) }, ...nodes) : el("ul", {}, ...nodes);
}

/** Lines of each item without its mark and indentation. An item further left or right than the first is content. */
function splitItems(lines, indent) {
  const items = [];
  for (const line of lines) {
    const mark = ITEM.exec(line);
    if (mark && (mark[1].length <= indent + 1 || !items.length)) {
      items.push({ lines: [mark[3]], width: line.length - mark[3].length });
      continue;
    }
    const item = items.at(-1);
    const blank = line.length - line.trimStart().length;
    item.lines.push(line.slice(Math.min(blank, item.width)));
  }
  return items.map((item) => item.lines);
}

/** A lone paragraph stands in its item without one of its own. */
function itemContent(lines, depth) {
  const nodes = blocks(lines, depth + 1);
  return nodes.length && nodes[0].tagName === "P" ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes;
}

function table(lines) {
  const row = (line, cell) => el("tr", {}, ...cells(line).map((text) => el(cell, { dir: "auto" }, ...inline(text))));
  const head = el("thead", {}, row(lines[0], "th"));
  const body = el("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")));
  return el("div", { class: "table", tabindex: "0" }, el("table", {}, head, body));
}

const cells = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());

// --- inside a paragraph ---------------------------------------------------------------------------------------------

const SPECIAL = /[\\`*_~[!h\n]/g;
const LINK = /!?\[([^[\]\n]{0,500})\]\(\s*<?([^()<>\s]{1,2000}(?:\([^()<>\s]{0,200}\)[^()<>\s]{0,500})?)>?(?:\s+"[^"\n]{0,200}")?\s*\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`]{1,2000}/y;
const MARKS = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "s"],
  ["*", "em"],
  ["_", "em"],
];

/** Nodes for the text of one paragraph. */
export function inline(text, depth = 0) {
  const nodes = [];
  const missing = new Set();
  let from = 0;
  let at = 0;
  while ((at = next(text, at)) < text.length) {
    const found = special(text, at, depth, missing);
    if (!found) {
      at += 1;
      continue;
    }
    if (at > from) nodes.push(text.slice(from, at));
    nodes.push(found.node);
    from = at = found.end;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

function next(text, at) {
  SPECIAL.lastIndex = at;
  return SPECIAL.exec(text)?.index ?? text.length;
}

function special(text, at, depth, missing) {
  const sign = text[at];
  if (sign === "\n") return { node: el("br"), end: at + 1 };
  if (sign === "\\") return escaped(text, at);
  if (sign === "`") return codeSpan(text, at, missing);
  if (sign === "[" || sign === "!") return link(text, at, depth);
  if (sign === "h") return address(text, at);
  return depth < MAX_DEPTH ? emphasis(text, at, depth, missing) : null;
}

function escaped(text, at) {
  return /[\\`*_~[\]()#+\-.!|>{}]/.test(text[at + 1] ?? "") ? { node: text[at + 1], end: at + 2 } : null;
}

function codeSpan(text, at, missing) {
  let width = 1;
  while (text[at + width] === "`") width += 1;
  const mark = "`".repeat(width);
  const close = closing(text, at + width, mark, missing);
  if (close < 0) return null;
  const code = text.slice(at + width, close).replaceAll("\n", " ");
  return { node: el("code", {}, width > 1 ? code.trim() : code), end: close + width };
}

/** Where `mark` comes again, -1 if nowhere. What was searched for in vain is not searched for again. */
function closing(text, from, mark, missing) {
  const close = missing.has(mark) ? -1 : text.indexOf(mark, from);
  if (close < 0) missing.add(mark);
  return close;
}

function emphasis(text, at, depth, missing) {
  for (const [mark, tag] of MARKS) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    if (/\s/.test(text[start] ?? " ") || (mark[0] === "_" && isWord(text[at - 1]))) return null;
    const close = endOfEmphasis(text, start, mark, missing);
    if (close < 0) continue;
    return { node: el(tag, {}, ...inline(text.slice(start, close), depth + 1)), end: close + mark.length };
  }
  return null;
}

const isWord = (sign) => sign !== undefined && /[\p{L}\p{N}]/u.test(sign);

function endOfEmphasis(text, start, mark, missing) {
  let close = closing(text, start, mark, missing);
  while (close >= 0 && !endsWord(text, start, close, mark)) {
    const again = text.indexOf(mark, close + mark.length);
    // Bounded: a text made of marks only would be searched from every mark to its end.
    close = again - start > 5000 ? -1 : again;
  }
  return close;
}

function endsWord(text, start, close, mark) {
  if (close === start || /\s/.test(text[close - 1])) return false;
  if (mark.length === 1 && text[close + 1] === mark) return false;
  return mark[0] !== "_" || !isWord(text[close + mark.length]);
}

function link(text, at, depth) {
  LINK.lastIndex = at;
  const found = LINK.exec(text);
  if (!found) return null;
  const [whole, label, target] = found;
  const shown = depth < MAX_DEPTH ? inline(label || target, depth + 1) : [label || target];
  return { node: anchor(target, shown) ?? whole, end: at + whole.length };
}

function address(text, at) {
  ADDRESS.lastIndex = at;
  const found = isWord(text[at - 1]) ? null : ADDRESS.exec(text);
  if (!found) return null;
  const target = found[0].replace(/[.,;:!?)\]}*_~]+$/, "");
  const node = anchor(target, [target]);
  return node && { node, end: at + target.length };
}

/** A link that tells nobody where it was clicked; null for anything but http and https. */
function anchor(target, children) {
  if (!/^https?:\/\//i.test(target)) return null;
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  const rest = { target: "_blank", rel: "noopener noreferrer nofollow", referrerpolicy: "no-referrer" };
  return el("a", { href: url.href, title: url.href, ...rest }, ...children);
}
