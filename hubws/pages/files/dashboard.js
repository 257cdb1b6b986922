// The dashboard. What the server sends is described in dashboard.py.

import {byId, put} from "./live.js";
import {Timeline, bytes, bytesParts, count, countParts, duration, figure, fill, follow, nameCell, time} from "./board.js";

const CODES = { // RFC 6455 §7.4, and the registry
  1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "unsupported data", 1005: "no code",
  1006: "no close frame", 1007: "not UTF-8", 1008: "policy violation", 1009: "message too big",
  1010: "extension missing", 1011: "internal error", 1012: "service restart", 1013: "try again later",
  1014: "bad gateway",
};
const FINE = new Set(["1000", "1001", "1005"]);

let now = {};

const rate = (value) => `${count(value)}/s`;
const byteRate = (value) => `${bytes(value)}/s`;
const plots = [
  new Timeline("rates", {series: [{key: "broadcasts_rate", style: "second"}, {key: "sent_rate", style: "first"}], format: rate, least: 2}),
  new Timeline("bytes", {series: [{key: "bytes_in_rate", style: "third"}, {key: "bytes_out_rate", style: "first"}], format: byteRate, least: 200}),
  new Timeline("members", {series: [{key: "members", style: "first"}], format: count, least: 2}),
  new Timeline("queues", {series: [{key: "queued", style: "first"}], format: bytes, least: 200, mark: (point) => point.dropped_rate > 0}),
];

follow({
  silence: 15000,
  onNews(news) { if (news.now) now = news.now; },
  draw,
});

function draw(points) {
  if (!points.length || !now.queues) return;
  const point = points.at(-1), {server, queues} = now;
  const beside = server ? `${count(server.accepted)} so far${server.refused ? `, ${count(server.refused)} refused` : ""}` : "";
  figure("connections", countParts(point.members), beside);
  figure("messages", perSecond(countParts(point.sent_rate)), `${rate(point.broadcasts_rate)} broadcasts`);
  figure("traffic", perSecond(bytesParts(point.bytes_out_rate)), `${byteRate(point.bytes_in_rate)} received`);
  const stalled = queues.stalled ? `, ${count(queues.stalled)} stalled` : "";
  figure("queued", bytesParts(queues.bytes), `${count(queues.messages)} messages${stalled}`);
  const isDropping = point.dropped_rate > 0;
  figure("dropped", countParts(now.dropped), `${count(now.disconnected)} disconnected`, isDropping);
  figure("topics", countParts(now.topics), `${count(now.users)} users`);
  figure("memory", bytesParts(point.memory), `up for ${duration(now.seconds)}`);
  const load = point.cpu_rate == null ? null : point.cpu_rate * 100;
  figure("processor", [countParts(load)[0], "%"], `${time(Math.max(now.late, 0))} late`);
  put(byId("about"), `${count(now.sent)} messages to members so far`);
  for (const plot of plots) plot.show(points);
  const rows = (id, found, nothing) =>
    fill(byId(id), found.length ? found : [{style: "empty", cells: [{text: nothing, style: "text empty"}]}]);
  rows("largest", now.largest.map(([name, members]) => ({cells: [{text: name, style: "text"}, count(members)]})), "no topics");
  rows("closes", Object.entries(now.closes).sort((one, other) => other[1] - one[1]).map(([code, many]) => ({
    cells: [{text: `${code} ${CODES[code] ?? "of an application"}`, style: "text"}, {text: count(many), style: FINE.has(code) ? "" : "bad-figure"}],
  })), "none has, yet");
  rows("longest", queues.longest.map((one) => ({
    style: one.stalled ? "is-bad" : "",
    cells: [
      nameCell(one, one.stalled ? "stalled" : ""),
      count(one.messages), bytes(one.bytes), count(one.dropped),
    ],
  })), "nothing waits");
  rows("policies", Object.entries(now.policies).map(([policy, [dropped, disconnected]]) => ({
    cells: [{text: policy, style: "text"}, count(dropped), count(disconnected)],
  })), "nothing was lost");
}

function perSecond([number, unit]) {
  return [number, `${unit}/s`];
}
