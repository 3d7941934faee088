// The last hour as small charts: plain SVG, the same time below each other.

import { byId, el, seconds } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
const LEAST_S = 0.05;
const RECENT = 60;

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function showTrend(hour) {
  // As wide as what there is, ten minutes at least.
  const known = { ...hour, pieces: Math.max(RECENT, hour.held.length) };
  byId("trend").replaceChildren(firstTokens(known), loads(known), trouble(known));
}

function chart(title, said, top, hour, shapes) {
  const picture = svg("svg", { viewBox: `0 0 ${hour.pieces} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  picture.setAttribute("aria-label", `${title}: ${said}`);
  picture.append(...[25, 50, 75].map((y) => svg("path", { class: "grid", d: `M0 ${y}H${hour.pieces}` })), ...shapes);
  const axis = el("p", { class: "axis", "aria-hidden": "true" }, el("span", {}, `−${Math.round(hour.pieces * hour.piece_s / 60)} min`), el("span", {}, "now"));
  return el(
    "figure", {},
    el("figcaption", {}, el("b", {}, title), el("span", {}, said)),
    el("div", { class: "plot" }, el("span", { class: "top", "aria-hidden": "true" }, top), picture), axis,
  );
}

// The newest piece is at the right edge, however many there are.
function at(hour, values, number) {
  return hour.pieces - values.length + number;
}

function firstTokens(hour) {
  const { first_token_p50_s: half, first_token_p95_s: most } = hour;
  const known = most.filter((value) => value !== null);
  const top = Math.max(1, ...known);
  const y = (value) => HEIGHT * (1 - Math.log(Math.max(value, LEAST_S) / LEAST_S) / Math.log(top / LEAST_S));
  const shapes = [
    svg("path", { class: "band", d: band(hour, half, most, y) }),
    svg("path", { class: "line", d: line(hour, half, y) }),
  ];
  const last = Math.max(half.findLastIndex((value) => value !== null), 0);
  const said = known.length ? `half within ${seconds(half[last])}, 95 % within ${seconds(most[last])}` : "none yet";
  return chart("First token", said, seconds(top), hour, shapes);
}

function line(hour, values, y) {
  let path = "", before = null;
  values.forEach((value, number) => {
    if (value !== null) path += `${before === null ? "M" : "L"}${at(hour, values, number)} ${y(value).toFixed(1)}`;
    // A single piece is seen too.
    if (value !== null && before === null) path += "h.9";
    before = value;
  });
  return path;
}

function band(hour, low, high, y) {
  return low.map((value, number) => {
    if (value === null) return "";
    const [top, bottom] = [y(high[number]), y(value)];
    return `M${at(hour, low, number)} ${top.toFixed(1)}h1V${bottom.toFixed(1)}h-1z`;
  }).join("");
}

function bars(hour, values, top, kind) {
  const path = values.map((value, number) => {
    const high = Math.max(value ? 3 : 0, HEIGHT * value / top);
    return value ? `M${at(hour, values, number)} ${HEIGHT}v${-high.toFixed(1)}h.8V${HEIGHT}z` : "";
  });
  return svg("path", { class: kind, d: path.join("") });
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function loads(hour) {
  const top = Math.max(2, ...hour.loads);
  const times = hour.load_s.filter((value) => value !== null);
  const mean = times.length ? `, ${seconds(sum(times) / times.length)} each` : "";
  const said = `${sum(hour.loads)} in the hour, ${sum(hour.loads.slice(-RECENT))} in the last ten minutes${mean}`;
  return chart("Loads", said, `${top} in ${hour.piece_s} s`, hour, [bars(hour, hour.loads, top, "bars")]);
}

function trouble(hour) {
  const top = Math.max(2, ...hour.held, ...hour.broken, ...hour.fell_back);
  const shapes = [
    bars(hour, hour.held, top, "bars held"),
    bars(hour, hour.fell_back, top, "bars fell"),
    bars(hour, hour.broken, top, "bars broken"),
  ];
  const said = `${hour.held.at(-1) ?? 0} wait now; ${sum(hour.broken)} broke, ${sum(hour.fell_back)} without the agent`;
  return chart("Waiting, broken", said, `${top}`, hour, shapes);
}
