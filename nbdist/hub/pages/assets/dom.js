// Elements from data, and changes of what is shown without replacing it. Text is always text: nothing is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "line", "text", "title"]);

// h("td.number", {title: "…"}, child, …): children are elements, strings, numbers, or null for nothing.
export function h(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "onclick") element.onclick = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

// Makes `old` look like `wanted`, and keeps whatever is the same: focus, scrolling and selection stay where they are.
export function patch(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName) {
    old.replaceWith(wanted);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    const isTheirs = name === "open" && old.nodeName === "DETAILS"; // who reads has opened it
    if (!wanted.hasAttribute(name) && !isTheirs) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  old.onclick = wanted.onclick;
  const theirs = [...wanted.childNodes];
  const ours = [...old.childNodes];
  ours.slice(theirs.length).forEach((node) => node.remove());
  theirs.forEach((node, at) => (at < ours.length ? patch(ours[at], node) : old.append(node)));
}

// A table: columns are [title, options]; rows are lists of cells (elements, strings or numbers).
export function table(caption, columns, rows, more = 0) {
  if (!rows.length) return h("p.quiet", {}, "none");
  const classOf = (options) => (options ? `.${options}` : "");
  const head = columns.map(([title, options]) => h(`th${classOf(options)}`, { scope: "col" }, title));
  const body = rows.map((row) => h("tr", {}, row.map((cell, at) => h(`td${classOf(columns[at][1])}`, {}, cell))));
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption.hidden", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    more ? h("p.quiet", {}, `and ${whole(more)} more`) : null);
}

export const whole = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "");

export function rate(value) {
  if (!Number.isFinite(value)) return "";
  return value >= 10 || value === 0 ? whole(value) : value.toFixed(2);
}

export function bytes(value) {
  if (!value) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) [value, at] = [value / 1000, at + 1];
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
