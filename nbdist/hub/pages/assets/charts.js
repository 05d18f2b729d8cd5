// The two drawings of the pages: throughput over time, and slots over time.

import { duration, h, rate, whole } from "./dom.js";

const WIDTH = 800;
const LEAST_WIDTH = 300;
const LEFT = 56;
const MIN_SPAN_SECONDS = 60;

// Points [seconds ago, value, …], the oldest first, as an area; `at` says which of the values.
export function area(points, at, name, format, ceiling = 0) {
  if (points.length < 2) return h("p.quiet", {}, "Nothing has been measured yet.");
  const width = Math.max(LEAST_WIDTH, Math.min(WIDTH, innerWidth < 800 ? innerWidth - 20 : innerWidth / 2 - 30));
  const height = 140, bottom = height - 20, top = 8;
  const span = Math.max(MIN_SPAN_SECONDS, points[0][0]);
  const most = Math.max(ceiling, ...points.map((point) => point[at])) || 1;
  const x = (ago) => LEFT + (width - LEFT) * (1 - ago / span);
  const y = (value) => bottom - (bottom - top) * (value / most);
  const line = points.map((point) => `${x(point[0]).toFixed(1)} ${y(point[at]).toFixed(1)}`);
  const last = points[points.length - 1];
  const outline = `M${line.join("L")}`;
  const label = `${name}: now ${format(last[at])}, at most ${format(Math.max(...points.map((p) => p[at])))} ` +
    `in the last ${duration(span)}`;
  return h("svg.chart", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    h("title", {}, label),
    [0, 0.5, 1].map((share) => [
      h("line.grid", { x1: LEFT, x2: width, y1: y(most * share), y2: y(most * share) }),
      h("text.tick", { x: LEFT - 6, y: y(most * share) + 4, "text-anchor": "end" }, format(most * share)),
    ]),
    h("path.fill", { d: `${outline}L${x(last[0]).toFixed(1)} ${bottom}L${x(points[0][0]).toFixed(1)} ${bottom}Z` }),
    h("path.stroke", { d: outline }),
    h("text.tick", { x: LEFT, y: height - 4 }, `${duration(span)} ago`),
    h("text.tick", { x: width, y: height - 4, "text-anchor": "end" }, "now"));
}

const OUTCOMES = ["done", "running", "failed", "cancelled", "crashed", "lost"];
const MOST_LINES = 200;

// Which slot worked when: `timeline` as of `scheduler.looking.timeline`.
export function gantt(timeline) {
  const { slots, bars } = timeline;
  if (!bars.length) return h("p.quiet", {}, "No slot has worked on it yet.");
  const order = slots.map((slot, at) => at)
    .sort((a, b) => (slots[a][0] < slots[b][0] ? -1 : slots[a][0] > slots[b][0] ? 1 : slots[a][1] - slots[b][1]))
    .slice(0, MOST_LINES);
  const row = new Map(order.map((slot, at) => [slot, at]));
  const names = 150, step = order.length > 40 ? 8 : 16, height = order.length * step + 24;
  const span = Math.max(timeline.seconds, 1e-3, ...bars.map((bar) => bar[4]));
  const x = (seconds) => names + (WIDTH - names) * (seconds / span);
  const drawn = bars.filter((bar) => row.has(bar[0])).map((bar) => {
    const [slot, start, stop, began, ended, busy, slices, outcome, copies] = bar;
    const items = stop > start ? `items ${whole(start)} to ${whole(stop - 1)}` : "no item";
    const what = `${slots[slot][0]}, slot ${slots[slot][1]}: ${items}, ${outcome}, ${duration(began)} to ${duration(ended)}` +
      `, busy ${whole(100 * busy / Math.max(ended - began, 1e-9))} %, ${whole(slices)} slices` +
      (copies ? `, ${whole(copies)} of them copies` : "");
    return h(`rect.bar.${outcome}${copies ? ".copy" : ""}`, {
      x: x(began).toFixed(2), width: Math.max(0.6, x(ended) - x(began)).toFixed(2),
      y: row.get(slot) * step + 2, height: step - 3,
    }, h("title", {}, what));
  });
  const labels = order.map((slot, at) => {
    const isFirst = at === 0 || slots[order[at - 1]][0] !== slots[slot][0];
    const text = isFirst ? slots[slot][0].slice(0, 22) : "";
    return text ? h("text.tick", { x: 0, y: at * step + Math.min(step, 12) }, text) : null;
  });
  const used = OUTCOMES.filter((outcome) => bars.some((bar) => bar[7] === outcome));
  const total = bars.reduce((sum, bar) => sum + bar[5], 0);
  const label = `Timeline: ${whole(slots.length)} slots, ${duration(span)}, ` +
    `${whole(100 * total / (span * slots.length))} % of their time at work`;
  return h("div", {},
    h("div.scroll", { tabindex: 0, role: "region", "aria-label": "timeline" },
      h("svg.gantt", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label },
        h("title", {}, label), labels, drawn,
        h("text.tick", { x: names, y: height - 6 }, "0"),
        h("text.tick", { x: WIDTH, y: height - 6, "text-anchor": "end" }, duration(span)))),
    h("p.legend", {}, used.map((outcome) => h("span", {}, h(`i.bar.${outcome}`, {}), outcome)),
      h("span.quiet", {}, label)),
    slots.length > MOST_LINES ? h("p.quiet", {}, `${whole(slots.length - MOST_LINES)} more slots are not drawn`) : null);
}

export const itemsPerSecond = (points) => area(points, 1, "items per second", rate);
export const busySlots = (points) => area(points, 2, "busy slots", whole, Math.max(...points.map((p) => p[3]), 0));
