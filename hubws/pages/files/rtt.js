// The page of round-trip times. What the server sends is described in rtt.py.

import {byId, put} from "./live.js";
import {Bars, Timeline, comparing, count, countParts, figure, fill, follow, nameCell, percent, sorting, spark, time, timeParts} from "./board.js";

const MOST_ROWS = 100, MOST_LATELY = 40;
const PER_TEN = 10; // bars for each factor of ten, as the server counts them
const ALARMS = {rtt: "slow", loss: "losing pings"};

let total = {};
const rows = new Map(); // by id

const timeline = new Timeline("timeline", {
  series: [{key: "p99", style: "second"}, {key: "p50", style: "first"}],
  format: time,
  mark: (point) => point.lost > 0,
});
const histogram = new Bars("histogram", PER_TEN);
const order = sorting(document.querySelector("thead"), drawRows);
byId("filter").addEventListener("input", drawRows);

follow({
  silence: 10000,
  onOpen() { rows.clear(); },
  onNews,
  draw,
});

// -- what comes ------------------------------------------------------------------------------

function onNews(news) {
  if (news.total) total = news.total;
  if (news.interval) put(byId("about"), `every connection is pinged every ${time(news.interval)}`);
  for (const row of news.rows ?? []) {
    const lately = rows.get(row.id)?.lately ?? [];
    lately.push(row.last);
    if (lately.length > MOST_LATELY) lately.shift();
    const name = row.user ? `${row.user} (${row.remote})` : row.remote || `connection ${row.id}`;
    rows.set(row.id, {...row, name, lately});
  }
  for (const id of news.gone ?? []) rows.delete(id);
}

// -- what is seen ----------------------------------------------------------------------------

function draw(points) {
  const now = points.at(-1) ?? {};
  figure("connections", countParts(total.connections));
  figure("p50", timeParts(total.p50), now.p50 == null ? "" : `now ${time(now.p50)}`);
  figure("p99", timeParts(total.p99), now.p99 == null ? "" : `now ${time(now.p99)}`);
  const answered = total.pings ? total.lost / total.pings : null;
  figure("lost", [percent(answered), ""], `${count(total.lost)} of ${count(total.pings)} pings`);
  figure("alarms", countParts(total.alarms), total.alarms ? "see the table" : "all is well", total.alarms > 0);
  timeline.show(points);
  const bins = new Map();
  for (const point of points) {
    for (const [number, many] of Object.entries(point.bins)) bins.set(+number, (bins.get(+number) ?? 0) + many);
  }
  histogram.show(bins);
  const counted = [...bins.values()].reduce((sum, many) => sum + many, 0);
  put(byId("counted"), counted ? `${count(counted)} pings of the last ${words(points)}` : "");
  drawRows();
}

function words(seen) {
  const seconds = Math.round(seen.at(-1).time - seen[0].time) + 1;
  return seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

function drawRows() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = [...rows.values()].filter((row) => row.name.toLowerCase().includes(wanted));
  const shown = found.sort(comparing(order)).slice(0, MOST_ROWS);
  fill(byId("rows"), shown.map((row) => ({
    style: row.alarms.length ? "is-bad" : "",
    cells: [
      nameCell(row, row.alarms.map((kind) => ALARMS[kind]).join(", ")),
      time(row.last),
      time(row.p50),
      time(row.p99),
      time(row.jitter),
      {text: percent(row.loss), style: row.loss > 0 ? "bad-figure" : ""},
      count(row.pings),
      spark(row.lately),
    ],
  })));
  byId("empty").hidden = shown.length > 0;
  put(byId("empty"), rows.size ? "No connection has this in its name or address." : "Nobody is connected yet.");
  put(byId("listed"), found.length > shown.length ? `the first ${shown.length} of ${count(found.length)}` : "");
  const alarmed = [...rows.values()].filter((row) => row.alarms.length).slice(0, 5);
  put(byId("alarmed"), alarmed.length ? `Alarm: ${alarmed.map((row) => row.name).join(", ")}` : "");
}
