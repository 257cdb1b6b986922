"""What is shown of the hub: five measurements, each of which makes a `Section` of rows."""

import contextlib
import dataclasses
import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from chart import Bar, bar_chart
from hub_process import Pair, running, running_hub
from loads import TARGETS, Target, broadcast_load
from measure import MeasurementError, build
from run import run_in_turns

NO_TAKEOVER = "permessage-deflate; client_max_window_bits; server_no_context_takeover"
TAKEOVER = "permessage-deflate; client_max_window_bits"


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int = 5
    connections: int = 10_000
    bursts: int = 20
    """To ten members in each turn."""
    publish_seconds: float = 1.0
    publish_bursts: tuple[int, ...] = (1, 10)
    phases: int = 12
    """Of each round of the stalled member: half of them without one."""
    phase_messages: int = 25
    rate: float = 50.0
    """Broadcasts in a second, to 1,000 members."""
    compressed: int = 40
    """Broadcasts in each turn."""
    unclear: str = ""
    """Why figures that hang on wall time are not judged."""


QUICK = Plan(
    rounds=1,
    connections=1000,
    bursts=4,
    publish_seconds=0.2,
    publish_bursts=(10,),
    phases=2,
    phase_messages=16,
    compressed=5,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure: the median of all rounds and their range; None with the reason in `note`."""

    what: str
    unit: str
    values: Sequence[float] = ()
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    """Why there is no figure, or why it says nothing."""

    @property
    def figure(self) -> float | None:
        return median(self.values) if self.values else None

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"

    @property
    def check(self) -> str:
        figure = self.figure
        if figure is None:
            return "not measured"
        if not self.target:
            return ""
        if self.note:
            return "unclear"
        met = figure <= self.at_most if self.at_most is not None else figure >= (self.at_least or 0)
        return "met" if met else "MISSED"


@dataclasses.dataclass
class Section:
    """One measurement: how it is made, and what came out."""

    title: str
    how: str
    rows: list[Row] = dataclasses.field(default_factory=list)
    chart: str = ""
    raw: dict[str, Any] = dataclasses.field(default_factory=dict)


Say = Callable[[str], None]


def ratios(some: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round, so that what slowed both alike is left out."""
    return [one / other for one, other in zip(some, others, strict=True)]


def in_turns(things: Sequence[Any], turn: int) -> list[Any]:
    first = turn % len(things)
    return [*things[first:], *things[:first]]


# -- a small topic among many connections ------------------------------------------------------


SHORT = 100
"""Broadcasts in a burst: they fit into the sockets, so that the clients can read them afterwards."""


def small_topic(plan: Plan, say: Say) -> Section:
    members, few = 10, 100
    sizes = (plan.connections, few)
    section = Section(
        f"A topic of {members} members among {plan.connections:,} connections",
        f"Server CPU for a broadcast of a new message of 300 B and all its system calls; two servers, "
        f"with {plan.connections:,} and with {few} connections, in turns of {plan.bursts} times "
        f"{SHORT} broadcasts. The clients read after each {SHORT}.",
    )
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    with running_hub() as many_pair, running_hub() as few_pair:
        pairs = {plan.connections: many_pair, few: few_pair}
        for size, pair in pairs.items():
            pair.open("all", size)
            pair.server.ask("choose", topic="small", members=members)
            pair.burst("all", members, SHORT, topic="small")
        for turn in range(plan.rounds * 3):
            say(f"small topic, turn {turn + 1} of {plan.rounds * 3}")
            for size in in_turns(sizes, turn):
                cpu = sum(
                    pairs[size].burst("all", members, SHORT, topic="small")["cpu"]
                    for _ in range(plan.bursts)
                )
                costs[size].append(cpu / plan.bursts / SHORT * 1e6)
    section.rows = [
        Row(f"among {size:,} connections", "µs of CPU a broadcast", costs[size]) for size in sizes
    ]
    many, less = (costs[size] for size in sizes)
    section.rows.append(
        Row(f"{plan.connections:,} against {few} connections", "x", ratios(many, less), at_most=1.2)
    )
    section.raw = {str(size): costs[size] for size in sizes}
    return section


# -- memory ------------------------------------------------------------------------------------


def memory(plan: Plan, say: Say) -> Section:
    count = plan.connections
    layouts = {
        f"10 topics each, of {count // 10:,} topics": {"topics": count // 10, "each": 10},
        "one topic for all": {"topics": 1, "each": 1},
    }
    section = Section(
        "Memory of a subscription",
        f"What the server's resident memory grows by when each of {count:,} members joins, for each "
        f"pair of connection and topic; a new server each time. The first topic of a connection "
        f"also takes what keeps its topics. 'Names of their own': each join brings a new string, as "
        f"when the name was read from a message.",
    )
    for name, layout in layouts.items():
        for fresh in (True, False):
            values = []
            for turn in range(plan.rounds):
                say(f"memory, {name}, round {turn + 1} of {plan.rounds}")
                with running_hub() as pair:
                    pair.open("", count)
                    answer = pair.server.ask("subscribe", **layout, fresh=fresh)
                values.append(answer["bytes"] / answer["pairs"])
            what = f"{name}, {'names of their own' if fresh else 'names shared'}"
            section.rows.append(Row(what, "bytes", values))
            section.raw[what] = values
    return section


# -- publishing to 1,000 -----------------------------------------------------------------------


def publish(plan: Plan, say: Say) -> Section:
    section = Section(
        "Publishing to 1,000 members",
        f"The loads broadcast-1 and broadcast-10 of run.py, by its code, {plan.publish_seconds:g} s a "
        f"run: messages of 128 B received by all members together in a second.",
    )
    needs = {"hubws": "hubws", "picows": "picows", "websockets asyncio": "websockets"}
    say("building the load generator")
    omitted = build() | {
        name: f"{module} isn't installed"
        for name, module in needs.items()
        if importlib.util.find_spec(module) is None
    }
    if importlib.util.find_spec("uvloop") is None:
        omitted |= dict.fromkeys(("picows", "websockets asyncio"), "uvloop isn't installed")
    loads = [broadcast_load(burst) for burst in plan.publish_bursts]
    servers = {load: [one for one in load.servers if one.name in needs] for load in loads}
    results = run_in_turns(servers, omitted, plan.rounds, plan.publish_seconds)
    for load in loads:
        figures = {}
        for name, outcome in results[load.name].items():
            figures[name] = values = outcome.values(load.figure)
            note = outcome.omitted or "".join(outcome.failures[:1])
            section.rows.append(
                Row(f"{load.burst} at once, {name}", "messages/s", values, note=note)
            )
        targets = [t for t in TARGETS if t.load == load.name and t.against in needs]
        targets.append(Target(load.name, "hubws", 0, "websockets asyncio"))
        for target in targets:
            assert target.against is not None
            ours, theirs = figures[target.server], figures[target.against]
            complete = len(ours) == len(theirs) == plan.rounds
            section.rows.append(
                Row(
                    f"{load.burst} at once, {target.server} against {target.against}",
                    "x",
                    ratios(ours, theirs) if complete else (),
                    at_least=target.value or None,
                    note=plan.unclear if complete else "a server has no figure",
                )
            )
        section.raw[load.name] = figures
    return section


# -- one member that doesn't read --------------------------------------------------------------

OTHERS = 999
POLICIES = ("drop_newest", "drop_oldest", "latest", "disconnect")
MOST_DELAY = 1.1
CONTROL = "control"
"""Nobody stalls in either phase: how far apart two runs of the same are."""


def unsteady(control: Sequence[float]) -> str:
    """Why the others can't be judged; "" when the same against itself stays within the limit."""
    if 1 / MOST_DELAY <= min(control) <= max(control) <= MOST_DELAY:
        return ""
    return f"the same against itself is {min(control):.2f} to {max(control):.2f} x"


def quantile(times: Counter[int], part: float) -> int:
    """The time, in microseconds, that this part of them doesn't exceed."""
    rank, seen = part * times.total(), 0
    for time in sorted(times):
        seen += times[time]
        if seen >= rank:
            return time
    raise MeasurementError("nothing was delivered")


def stalled_member(plan: Plan, say: Say) -> Section:
    others = OTHERS
    messages = plan.phase_messages * plan.phases // 2
    section = Section(
        "One of 1,000 members doesn't read",
        f"Delivery time to the other {others}: from just before `broadcast`, a monotonic time in the "
        f"message of 128 B, to just after the `recv` that brought it; {plan.rate:g} broadcasts a "
        f"second. Phases of {plan.phase_messages} broadcasts with and without the stalled member "
        f"alternate, on the same connections; {plan.phases} of them are a round, "
        f"{messages * others:,} deliveries of each kind. The stalled member's socket is full, and "
        f"its outbox but for a quarter of a phase (`latest`: but for one message); it comes first in "
        f"the topic. In the other phases a connection that is no member is as full: that costs the "
        f"kernel a fifth more for every send, whoever's it is. The ratio is that of "
        f"the two p99 of a round; `{CONTROL}` compares phases in "
        f"none of which anybody stalls.",
    )
    p99: dict[tuple[str, bool], list[float]] = {}
    pooled: dict[tuple[str, bool], Counter[int]] = {}
    cpu_ratios: dict[str, list[float]] = {}
    counts: dict[str, Counter[str]] = {}
    cases = (*POLICIES, CONTROL)
    with running_hub() as pair:
        pair.open("timed", others, timed=True)
        for turn in range(plan.rounds):
            for case in in_turns(cases, turn):
                say(f"stalled member, {case}, round {turn + 1} of {plan.rounds}")
                times: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}
                cpu = dict.fromkeys(times, 0.0)
                for phase in range(plan.phases):
                    is_stalled = phase % 4 in {1, 2}  # 0110: what drifts touches both alike
                    one, took, happened = stalled_phase(plan, pair, case, is_stalled=is_stalled)
                    times[is_stalled] += one
                    cpu[is_stalled] += took
                    counts.setdefault(case, Counter()).update(happened)
                cpu_ratios.setdefault(case, []).append(cpu[True] / cpu[False])
                for is_stalled, some in times.items():
                    p99.setdefault((case, is_stalled), []).append(quantile(some, 0.99) / 1000)
                    pooled.setdefault((case, is_stalled), Counter()).update(some)
    bars = []
    for case in cases:
        for is_stalled in (False, True):
            values = p99[case, is_stalled]
            which = "stalled" if is_stalled and case != CONTROL else "nobody"
            kind = "ours" if is_stalled else "peer"
            micro = [value * 1000 for value in values]
            bars.append(Bar(f"{case}, {which}", kind, min(micro), median(micro), max(micro)))
            section.raw[f"{case}, {which}{', again' * (is_stalled and which == 'nobody')}"] = {
                "p99 of each round, ms": values,
                "of all rounds, ms": {
                    f"p{part * 100:g}": quantile(pooled[case, is_stalled], part) / 1000
                    for part in (0.5, 0.9, 0.99, 0.999)
                },
                "deliveries": pooled[case, is_stalled].total(),
            }
    unclear = plan.unclear or unsteady(ratios(p99[CONTROL, True], p99[CONTROL, False]))
    for case in cases:
        clear, stalled = p99[case, False], p99[case, True]
        limit, note = (None, "") if case == CONTROL else (MOST_DELAY, unclear)
        again = "nobody, again" if case == CONTROL else "one stalls"
        section.rows += [
            Row(f"{case}, nobody stalls", "ms p99", clear),
            Row(f"{case}, {again}", "ms p99", stalled),
            Row(f"{case}, ratio", "x", ratios(stalled, clear), limit, note=note),
            Row(f"{case}, ratio of the server's CPU", "x", cpu_ratios[case]),
        ]
        section.raw[f"{case}, what happened to the stalled member"] = dict(counts[case])
    section.chart = bar_chart("Delivery to 999 members at 50 broadcasts/s, p99 (µs)", bars)
    return section


def stalled_phase(
    plan: Plan, pair: Pair, case: str, *, is_stalled: bool
) -> tuple[Counter[int], float, Counter[str]]:
    """One phase: delivery times, CPU time, and what became of the odd member's messages."""
    stalls = is_stalled and case != CONTROL
    policy = POLICIES[0] if case == CONTROL else case
    room = 1 if policy == "latest" else plan.phase_messages // 4
    # A connection that is full makes every send of the machine dearer by a fifth, whoever's it is:
    # where no member stalls, one that is no member does.
    pair.open("odd", reads=not stalls)
    if not stalls:
        pair.open("bystander", reads=False)
    pair.server.ask("stall", topic="odd" if stalls else "bystander", policy=policy, room=room)
    expected = OTHERS * plan.phase_messages
    pair.sink.tell("expect", path="timed", messages=expected)
    answer = pair.server.ask(
        "paced",
        topic="timed",
        first="odd",
        count=plan.phase_messages,
        rate=plan.rate,
        policy=policy,
    )
    got = pair.sink.answer()
    odd = pair.sink.ask("expect", path="odd", messages=0 if stalls else plan.phase_messages)
    pair.close("odd")
    if not stalls:
        pair.close("bystander")
    if got["messages"] != expected or got["ended"]:
        came = f"{got['messages']} of {expected} messages came to the others"
        raise MeasurementError(f"{case}, {'one' if stalls else 'nobody'} stalled: {came}")
    happened = Counter({name: answer[name] for name in ("dropped", "conflated", "disconnected")})
    due = {"latest": "conflated", "disconnect": "disconnected"}.get(policy, "dropped")
    if stalls and not happened[due]:
        raise MeasurementError(f"{case}: the stalled member was not noticed: {answer}")
    if not stalls and (happened.total() or odd["messages"] != plan.phase_messages):
        raise MeasurementError(f"{case}: a member that reads was not served: {answer}, {odd}")
    if stalls:
        happened["broadcasts"] = plan.phase_messages
    return Counter(dict(got["microseconds"])), answer["cpu"], happened


# -- a compressed broadcast --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sender:
    """A server, and the groups of connections that it has."""

    name: str
    script: tuple[str, ...]
    needs: tuple[str, ...]
    groups: tuple[str, ...]
    at_most: float | None
    fewer: int = 1
    """Its turns have this part of the broadcasts."""


OFFERS = {"plain": "", "takeover": TAKEOVER, "no-takeover": NO_TAKEOVER}
SENDERS = (
    Sender("hubws, zlib", ("servers/hub_hubws.py", "zlib"), (), tuple(OFFERS), 1.3),
    Sender("hubws, zlib-ng", ("servers/hub_hubws.py", "zlib-ng"), ("zlib_ng",), tuple(OFFERS), 1.3),
    Sender(
        "websockets",
        ("servers/hub_websockets.py",),
        ("websockets", "uvloop"),
        ("plain", "takeover"),
        None,
        4,
    ),
)


def compressed(plan: Plan, say: Say) -> Section:
    members = 1000
    section = Section(
        "A compressed broadcast",
        f"Server CPU for a broadcast of a new message of 300 B of JSON to {members:,} members that all "
        f"negotiated permessage-deflate, against the same to as many that did not, on the same "
        f"server, in turns of {plan.compressed} broadcasts (websockets: {plan.compressed // 4 or 1}), "
        f"one after the other as fast as it goes; the clients read after each turn. 'Takeover': the "
        f"members offered `{TAKEOVER}`; 'no-takeover': `{NO_TAKEOVER}`. websockets is its asyncio "
        f"server on uvloop, with its `broadcast()`.",
    )
    costs: dict[tuple[str, str], list[float]] = {}
    senders = {one.name: one for one in SENDERS}
    missing = {
        one.name: f"{need} isn't installed"
        for one in SENDERS
        for need in one.needs
        if importlib.util.find_spec(need) is None
    }
    with contextlib.ExitStack() as stack:
        pairs: dict[str, Pair] = {}
        for name, sender in senders.items():
            if name in missing:
                continue
            try:
                pairs[name] = stack.enter_context(running(*sender.script))
                for group in sender.groups:
                    pairs[name].open(group, members, offer=OFFERS[group], check=True)
            except MeasurementError as error:
                missing[name] = str(error)
        for turn in range(-1, plan.rounds):  # the first warms up
            for name in in_turns([one for one in senders if one not in missing], turn + 1):
                sender = senders[name]
                say(f"compressed broadcast, {name}, round {turn + 1} of {plan.rounds}")
                count = max(1, plan.compressed // sender.fewer)
                for group in in_turns(sender.groups, turn + 1):
                    try:
                        answer = pairs[name].burst(group, members, count)
                    except MeasurementError as error:
                        missing[name] = str(error)
                        break
                    if answer["compressed"] != (group != "plain"):
                        missing[name] = f"{group}: {answer['compressed']:.0%} came compressed"
                        break
                    if turn >= 0:
                        costs.setdefault((name, group), []).append(answer["cpu"] / count * 1e6)
    bars = []
    for name, sender in senders.items():
        for group in sender.groups:
            values = costs.get((name, group), []) if name not in missing else []
            note = missing.get(name, "")
            section.rows.append(Row(f"{name}, {group}", "µs of CPU a broadcast", values, note=note))
            if group != "plain":
                both = ratios(values, costs[name, "plain"]) if values else ()
                what = f"{name}, {group} against plain"
                section.rows.append(Row(what, "x", both, sender.at_most, note=note))
            if values:
                kind = "ours" if name.startswith("hubws") else "peer"
                label = f"{name.removeprefix('hubws, ')}, {group}"
                bars.append(Bar(label, kind, min(values), median(values), max(values)))
                section.raw[f"{name}, {group}"] = values
    title = "Server CPU for a broadcast of 300 B to 1,000 members (µs; zlib, zlib-ng: hubws)"
    section.chart = bar_chart(title, bars)
    return section


MEASURES: dict[str, Callable[[Plan, Say], Section]] = {
    "small-topic": small_topic,
    "memory": memory,
    "publish": publish,
    "stalled": stalled_member,
    "compressed": compressed,
}
