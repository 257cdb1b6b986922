// What pages of figures share: their feed, numbers in words, plots, tables.

import {Live, byId, element, put, renew, showState} from "./live.js";

// -- numbers in words ------------------------------------------------------------------------

const NOTHING = "–";

const digits = (value) => value.toLocaleString("en", {maximumSignificantDigits: value < 1000 ? 3 : 4});

/** Seconds as [number, unit]. */
export function timeParts(seconds) {
  if (seconds == null) return [NOTHING, ""];
  if (seconds >= 0.9995) return [digits(seconds), "s"];
  return [digits(seconds * 1000), "ms"];
}
export const time = (seconds) => timeParts(seconds).join(" ").trim();

/** A number with a unit of a thousand, as [number, unit]. */
export function countParts(value, unit = "") {
  if (value == null) return [NOTHING, ""];
  let step = 0;
  while (Math.abs(value) >= 9999.5 && step < 4) { value /= 1000; step += 1; }
  return [digits(value), ["", "k", "M", "G", "T"][step] + unit];
}
export const count = (value) => countParts(value).join(" ").trim();

/** Bytes as [number, unit]. */
export function bytesParts(value) {
  if (value == null) return [NOTHING, ""];
  let step = 0;
  while (value >= 999.5 && step < 4) { value /= 1000; step += 1; }
  return [step ? digits(value) : String(Math.round(value)), ["B", "kB", "MB", "GB", "TB"][step]];
}
export const bytes = (value) => bytesParts(value).join(" ").trim();

export const percent = (share) => (share == null ? NOTHING : `${digits(share * 100)} %`);

export function duration(seconds) {
  if (seconds == null) return NOTHING;
  const [days, hours, minutes] = [seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

// -- figures ---------------------------------------------------------------------------------

/** Put [number, unit] into a figure, and what is said under it. */
export function figure(id, [number, unit], below = "", isBad = false) {
  const [value, hint] = byId(id).querySelectorAll("dd");
  const text = unit ? `${number} ${unit}` : number;
  if (value.textContent !== text) {
    value.replaceChildren(number);
    if (unit) value.append(" ", element("small", "", unit));
  }
  put(hint, below);
  byId(id).classList.toggle("is-bad", isBad);
}

// -- plots -----------------------------------------------------------------------------------

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const LEFT = 58, RIGHT = 8, TOP = 8, BOTTOM = 22; // room for labels, in pixels

/** A round number that is not below the value, and whose half is round, too. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((round) => round >= value * 0.9999) ?? 10 * power;
}

class Plot {
  constructor(id) {
    this.root = byId(id);
    new ResizeObserver(() => this.draw()).observe(this.root);
  }

  /** An empty drawing: its size, and lines at the heights that have labels. */
  begin(most, format) {
    const width = this.root.clientWidth, height = this.root.clientHeight;
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - value / most);
    const parts = [0, 0.5, 1].flatMap((share) => [
      svg("line", {class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(share * most), y2: y(share * most)}),
      svg("text", {x: LEFT - 8, y: y(share * most) + 4, "text-anchor": "end"}, format(share * most)),
    ]);
    return {width, height, y, parts};
  }

  nothing(words) {
    const width = this.root.clientWidth, height = this.root.clientHeight;
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.replaceChildren(svg("text", {class: "nothing", x: width / 2, y: height / 2}, words));
  }
}

/**
 * Lines over time.
 *
 * series: [{key, style}] of the points, whose `time` is in seconds; null leaves a gap
 * format: a value in words
 * mark:   says of a point whether something was bad there
 */
export class Timeline extends Plot {
  #points = [];

  constructor(id, {series, format, least = 0, mark}) {
    super(id);
    this.is = {series, format, least, mark};
  }

  show(points) {
    this.#points = points;
    this.draw();
  }

  draw() {
    const {series, format, least, mark} = this.is, points = this.#points;
    const values = points.flatMap((point) => series.map(({key}) => point[key])).filter((value) => value != null);
    if (!this.root.clientWidth) return;
    if (!values.length) return this.nothing("nothing yet");
    const {width, height, y, parts} = this.begin(roundUp(Math.max(...values, least, 1e-9)), format);
    const end = points.at(-1).time, age = end - points[0].time;
    const span = [8, 20, 60, 120, 300].find((seconds) => seconds >= age) ?? 300;
    const x = (at) => LEFT + (width - LEFT - RIGHT) * (1 - (end - at) / span);
    for (let step = 0; step <= 4; step += width < 420 ? 2 : 1) {
      const ago = span * step / 4;
      const words = !ago ? "now" : span <= 60 ? `${ago} s ago` : `${Math.floor(ago / 60)}:${String(ago % 60).padStart(2, "0")} ago`;
      const anchor = step === 0 ? "end" : step === 4 ? "start" : "middle";
      parts.push(svg("text", {x: x(end - ago), y: height - 4, "text-anchor": anchor}, words));
    }
    const seen = points.filter((point) => end - point.time <= span);
    for (const {key, style} of series) {
      parts.push(svg("path", {class: `line ${style}`, d: pathOf(seen, key, x, y)}));
    }
    for (const point of mark ? seen.filter(mark) : []) {
      parts.push(svg("line", {class: "bad", x1: x(point.time), x2: x(point.time), y1: y(0), y2: y(0) - 9}));
    }
    this.root.replaceChildren(...parts);
  }
}

/** A line through the points, broken where nothing is known, or nobody looked. */
function pathOf(points, key, x, y) {
  let path = "", before = null;
  for (const point of points) {
    if (point[key] == null) { before = null; continue; }
    const joins = before !== null && point.time - before < 5;
    // A point by itself would not be seen: it gets a line of no length, whose ends are round.
    path += `${joins ? "L" : "M"}${x(point.time).toFixed(1)} ${y(point[key]).toFixed(1)}${joins ? "" : "h0"}`;
    before = point.time;
  }
  return path;
}

/** Bars over times whose factors of ten are equally wide. `bins`: how many, by number; see rtt.py. */
export class Bars extends Plot {
  #bins = new Map();

  constructor(id, perTen) {
    super(id);
    this.perTen = perTen;
  }

  show(bins) {
    this.#bins = bins;
    this.draw();
  }

  draw() {
    const numbers = [...this.#bins.keys()];
    if (!this.root.clientWidth) return;
    if (!numbers.length) return this.nothing("nothing yet");
    let first = Math.min(...numbers), last = Math.max(...numbers);
    while (last - first < 12) { first -= 1; last += 1; }
    const {width, height, y, parts} = this.begin(roundUp(Math.max(...this.#bins.values(), 2)), count);
    const step = (width - LEFT - RIGHT) / (last - first + 1);
    const x = (number) => LEFT + (number - first) * step;
    const from = (number) => 10 ** (number / this.perTen);
    for (const [number, many] of this.#bins) {
      const bar = svg("rect", {class: "bar", x: x(number) + step * 0.06, y: y(many), width: step * 0.88, height: y(0) - y(many), rx: Math.min(2, step / 4)});
      bar.append(svg("title", {}, `${many} from ${time(from(number))} to ${time(from(number + 1))}`));
      parts.push(bar);
    }
    let free = 0;
    for (let number = first; number <= last; number += 1) {
      const place = ((number % this.perTen) + this.perTen) % this.perTen;
      if (![0, 3, 7].includes(place) || x(number) < free) continue; // 1, 2 and 5
      const exact = {0: 1, 3: 2, 7: 5}[place] * 10 ** Math.floor(number / this.perTen);
      const words = svg("text", {x: x(number), y: height - 4, "text-anchor": number === first ? "start" : "middle"}, time(exact));
      parts.push(svg("line", {class: "grid", x1: x(number), x2: x(number), y1: y(0), y2: y(0) + 4}), words);
      free = x(number) + 62;
    }
    this.root.replaceChildren(...parts);
  }
}

/** A small line without labels. */
export function spark(values) {
  const root = svg("svg", {class: "spark", viewBox: "0 0 96 22", "aria-hidden": "true"});
  const known = values.filter((value) => value != null), most = Math.max(...known, 1e-9);
  const step = 92 / Math.max(values.length - 1, 19);
  const points = values.map((value, index) => (value == null ? "" : `${(94 - (values.length - 1 - index) * step).toFixed(1)},${(20 - 18 * value / most).toFixed(1)}`));
  root.append(svg("polyline", {points: points.filter(Boolean).join(" ")}));
  return root;
}

// -- tables ----------------------------------------------------------------------------------

/** The cell that names a connection: its user if it has one, its address, and what is wrong with it. */
export function nameCell({id, user, remote}, wrong = "") {
  if (!user) return {text: remote || `connection ${id}`, below: wrong, style: "text"};
  return {text: wrong ? `${user} – ${wrong}` : user, below: remote, style: "text"};
}

/** Fill a table's body with rows of cells; a cell is a text, or {text, below, style}, or an element. */
export function fill(body, rows) {
  body.replaceChildren(...rows.map(({cells, style}) => {
    const row = element("tr", style);
    cells.forEach((cell, index) => {
      const made = element(index ? "td" : "th", cell?.style);
      if (!index) made.scope = "row";
      if (cell instanceof Element) made.append(cell);
      else made.textContent = cell?.text ?? cell;
      if (cell?.below) made.append(element("small", "", cell.below));
      row.append(made);
    });
    return row;
  }));
}

/** Make the buttons in a table's head sort it; `data-key` says by what. Returns how it is sorted. */
export function sorting(head, onChange) {
  const order = {key: "", ascending: false};
  const mark = (chosen) => {
    for (const cell of head.querySelectorAll("th")) cell.removeAttribute("aria-sort");
    chosen.closest("th").setAttribute("aria-sort", order.ascending ? "ascending" : "descending");
  };
  for (const button of head.querySelectorAll("button[data-key]")) {
    if (button.closest("th").ariaSort) order.key = button.dataset.key;
    button.addEventListener("click", () => {
      order.ascending = order.key === button.dataset.key ? !order.ascending : button.dataset.first === "ascending";
      order.key = button.dataset.key;
      mark(button);
      onChange();
    });
  }
  return order;
}

/** A comparison of rows by a column; what is not known comes last. */
export function comparing({key, ascending}) {
  const sign = ascending ? 1 : -1;
  return (one, other) => {
    const a = one[key], b = other[key];
    if (a == null || b == null) return (a == null) - (b == null) || one.id - other.id;
    const order = typeof a === "string" ? a.localeCompare(b, "en", {numeric: true}) : a - b;
    return sign * order || one.id - other.id;
  };
}

// -- what comes ------------------------------------------------------------------------------

const MOST_POINTS = 300;

/**
 * Follow the page's feed.
 *
 * silence:        as for Live
 * onOpen, onNews(object): what happens
 * draw(points):   show what is known: after news, unless the page is held still or out of sight
 */
export function follow({silence, onOpen, onNews, draw}) {
  let points = [], isPaused = false;
  const show = () => { if (!isPaused && !document.hidden) draw(points); };
  const pause = byId("pause");
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on" : "Pause";
    show();
  });
  document.addEventListener("visibilitychange", show);
  new Live({
    url: () => "feed",
    before: renew,
    silence,
    onOpen,
    onMessage(news) {
      if (news.points) points = news.points;
      if (news.point) points.push(news.point);
      if (points.length > MOST_POINTS) points.shift();
      onNews(news);
      show();
    },
    onState(state, words) {
      showState(byId("state"), state, words);
      byId("board").classList.toggle("is-stale", state !== "open");
    },
  }).start();
}
