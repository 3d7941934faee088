// The fleet: a column for each instance, its memory to scale, in it a tile for each model.

import { age, byId, el, keyed, setAttribute, setText, size, unnumbered } from "./dom.js";

export const STATES = {
  up: "●", down: "✕", suspect: "▲", recovering: "◐", drained: "‖", unknown: "?",
};
const COMPACT_FROM = 17;
const DOTS = 8;

export function showFleet(scene, open) {
  const list = byId("instances");
  const count = scene.instances.length;
  setAttribute(list, "data-size", count >= COMPACT_FROM ? "compact" : count <= 2 ? "large" : "usual");
  const most = Math.max(1, ...scene.instances.map((one) => Math.max(extent(one), one.used_bytes)));
  const make = (one) => column(one, open);
  keyed(list, scene.instances, (one) => one.name, make, (node, one) => fill(node, one, most));
}

// What the memory of an instance is drawn with: all it has, or all that is known to be in it.
function extent(one) {
  return one.total_bytes || one.used_bytes;
}

// Loads that are not on the list yet: of a load with another context the model is.
function loading(one) {
  const listed = new Set(one.loaded.map((model) => model.model));
  return one.loads.filter((load) => !listed.has(load.model));
}

function usedSlots(one) {
  const slots = [...one.loaded, ...loading(one)].reduce((sum, model) => sum + model.slots, 0);
  const flying = Object.values(one.in_flight).reduce((sum, count) => sum + count, 0);
  return slots ? Math.min(1, flying / slots) : 0;
}

function column(one, open) {
  const button = el("button", { type: "button", class: "name", "aria-haspopup": "dialog" }, one.name);
  button.addEventListener("click", () => open(one.name));
  const glyph = el("span", { "aria-hidden": "true" });
  const word = el("span", { class: "word" });
  const state = el("span", { class: "state" }, glyph, word);
  const gauges = el("p", { class: "gauges" });
  const memory = el("ul", { class: "memory", "aria-label": `GPU memory of ${one.name}` });
  const rack = el("div", { class: "rack" }, memory);
  const busy = el("div", { class: "busy", "aria-hidden": "true" }, el("i"));
  const facts = el("p", { class: "facts" });
  const said = el("ul", { class: "said" });
  const node = el("li", { class: "instance" }, el("h3", {}, button, state), gauges, rack, busy, facts, said);
  node.parts = { glyph, word, gauges, memory, busy, facts, said };
  return node;
}

function fill(node, one, most) {
  const { glyph, word, gauges, memory, busy, facts, said } = node.parts;
  setAttribute(node, "data-health", one.health);
  setAttribute(node, "data-grade", ["bad", "doubt"].find((grade) => one.signs.some((sign) => sign.grade === grade)) ?? "");
  setText(glyph, STATES[one.health] ?? "?");
  setText(word, ` ${one.health}`);
  busy.style.setProperty("--used", usedSlots(one).toFixed(3));
  setText(gauges, deviceWords(one));
  const all = extent(one);
  memory.classList.toggle("open", !one.total_bytes);
  memory.classList.toggle("none", one.vram_bytes === 0);
  memory.style.setProperty("--share", (Math.max(all, one.used_bytes) / most).toFixed(4));
  const pieces = tiles(one, Math.max(all, one.used_bytes));
  keyed(memory, pieces, (piece) => piece.key, () => tile(), fillTile);
  setText(facts, factWords(one));
  keyed(said, one.signs, (sign) => unnumbered(sign.what), () => el("li", {}), fillSign);
}

// From the top of the column to its bottom: what is free, loads, models, other programs, what is on the CPU.
function tiles(one, all) {
  const models = one.loaded.map((model) => ({
    key: `model ${model.model}`, kind: one.leaving.includes(model.model) ? "leaves" : "model", name: model.model,
    bytes: model.vram_bytes, slots: model.slots, busy: one.in_flight[model.model] ?? 0, all,
    load: one.loads.find((load) => load.model === model.model),
  }));
  const loads = loading(one).map((load) => ({
    key: `load ${load.model}`, kind: "loads", name: load.model, bytes: load.size_bytes, slots: load.slots,
    busy: one.in_flight[load.model] ?? 0, load, all,
  }));
  const foreign = one.gpus?.foreign_bytes ?? 0;
  const free = Math.max(0, all - one.used_bytes);
  const cpu = one.loaded.reduce((sum, model) => sum + Math.max(0, model.size_bytes - model.vram_bytes), 0);
  return [
    ...(free ? [{ key: "free", kind: "free", name: `${size(free)} free`, bytes: free, all }] : []),
    ...loads,
    ...models.sort((a, b) => a.bytes - b.bytes),
    ...(foreign ? [{ key: "others", kind: "others", name: `others ${size(foreign)}`, bytes: foreign, all }] : []),
    ...(cpu ? [{ key: "cpu", kind: "cpu", name: `${size(cpu)} on the CPU`, bytes: cpu, all }] : []),
  ];
}

function tile() {
  const name = el("span", { class: "label" });
  const slots = el("span", { class: "slots", "aria-hidden": "true" });
  const node = el("li", {}, name, slots);
  node.parts = { name, slots };
  return node;
}

function fillSign(node, sign) {
  setAttribute(node, "data-grade", sign.grade);
  setText(node, sign.what);
}

function fillTile(node, piece) {
  setAttribute(node, "class", `tile ${piece.kind}`);
  node.style.setProperty("--part", (piece.bytes / piece.all).toFixed(4));
  if (piece.slots) node.style.setProperty("--hue", hue(piece.name));
  const left = piece.load ? leftWords(piece.load) : "";
  setText(node.parts.name, left ? `${short(piece.name)} · ${left}` : short(piece.name));
  if (piece.load) node.style.setProperty("--done", done(piece.load).toFixed(3));
  dots(node.parts.slots, piece);
  const words = piece.slots
    ? `${piece.name}, ${size(piece.bytes)}, ${piece.busy} of ${piece.slots} slots${left ? `, loads, ${left}` : ""}`
      + (piece.kind === "leaves" ? ", must go" : "")
    : piece.name;
  setAttribute(node, "aria-label", words);
  setAttribute(node, "title", words);
}

function dots(node, piece) {
  const { slots = 0, busy = 0 } = piece;
  if (slots > DOTS || busy > DOTS) {
    node.nodesByKey = undefined;
    setText(node, `${busy}/${slots}`);
    return;
  }
  if (!node.nodesByKey) node.textContent = "";
  // More than there are slots wait inside Ollama.
  const every = Array.from({ length: Math.max(slots, busy) }, (_, number) => number);
  const look = (number) => `slot${number < busy ? " used" : ""}${number >= slots ? " waits" : ""}`;
  keyed(node, every, (number) => number, () => el("i"), (dot, number) => setAttribute(dot, "class", look(number)));
}

export function leftWords(load) {
  return load.left_s > 0 ? `${age(Math.ceil(load.left_s))} left` : `late, ${age(load.since_s)} so far`;
}

function done(load) {
  const whole = load.since_s + load.left_s;
  return whole ? Math.min(1, load.since_s / whole) : 0;
}

// One model has one colour everywhere; the name decides.
export function hue(name) {
  let hash = 2166136261;
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  return (hash >>> 0) % 360;
}

export function short(name) {
  return name.replace(/:latest$/, "").replace(/^hf\.co\/[^/]*\//, "");
}

export function deviceWords(one) {
  const devices = one.gpus?.devices ?? [];
  if (!devices.length) return "";
  const most = (pick) => Math.max(...devices.map(pick).filter((value) => value !== null));
  const busy = most((device) => device.utilisation);
  const hot = most((device) => device.temperature_c);
  const watts = devices.reduce((sum, device) => sum + (device.power_w ?? 0), 0);
  const parts = devices.length > 1 ? [`${devices.length} GPUs`] : [];
  if (Number.isFinite(busy)) parts.push(`${Math.round(100 * busy)} %`);
  if (Number.isFinite(hot)) parts.push(`${Math.round(hot)} °C`);
  if (watts) parts.push(`${Math.round(watts)} W`);
  return parts.join(" · ");
}

export function factWords(one) {
  const busy = Object.values(one.in_flight).reduce((sum, count) => sum + count, 0);
  const { limit, configured } = one.connections;
  const words = [`${busy} in flight`, limit === configured ? `limit ${limit}` : `limit ${limit} of ${configured}`];
  if (one.slowdown > 1.5) words.push(`${one.slowdown.toFixed(1)} × slower`);
  if (one.reserved) words.push(`emptied for ${short(one.reserved)}`);
  return words.join(" · ");
}

