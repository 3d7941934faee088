// Elements of the page. Names of models come from clients: text goes in as text, and by no other way.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// Makes the children of a parent those of a list, in its order. What stays is the same element: focus stays on it.
// Of several items with one key each has its own element.
export function keyed(parent, items, keyOf, make, update) {
  const before = parent.nodesByKey ?? new Map();
  const after = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    let key = keyOf(item);
    while (after.has(key)) key = `${key}#`;
    const node = before.get(key) ?? make(item);
    before.delete(key);
    after.set(key, node);
    update(node, item);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of before.values()) node.remove();
  parent.nodesByKey = after;
}

// A text without its numbers: seconds that pass are no news, and what is read aloud is what is new.
export function unnumbered(text) {
  return text.replace(/(?<!\S)\d[\d.]*(?!\S)/g, "");
}

const GIB = 1024 ** 3;

export function size(bytes) {
  return `${(bytes / GIB).toFixed(bytes < 100 * GIB ? 1 : 0)} GiB`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 10) return `${value.toFixed(2)} s`;
  return age(value);
}

export function age(value) {
  if (value === null || value === undefined) return "";
  if (value < 120) return `${Math.floor(value)} s`;
  return value < 7200 ? `${Math.floor(value / 60)} min` : `${(value / 3600).toFixed(1)} h`;
}
