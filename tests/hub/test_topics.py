"""Topics and patterns, against a set of pairs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from hubws.hub.topics import Topics, check_topic, patterns_for

NAMES = ["a", "a.b", "a.*", "a.b.*", "b.*", "*"]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [("a", []), ("a.b", ["a.*"]), ("a.b.c", ["a.b.*", "a.*"]), (".a", [".*"]), ("a.", ["a.*"])],
)
def test_patterns(topic: str, expected: list[str]) -> None:
    assert list(patterns_for(topic)) == expected


def test_bad_names() -> None:
    for topic in (5, None, b"a"):
        with pytest.raises(TypeError, match="a topic is a str, not"):
            check_topic(topic)
    with pytest.raises(ValueError, match="can't be empty"):
        check_topic("")
    with pytest.raises(ValueError, match=r"a topic's name must be .* surrogate U\+D800 at index 1"):
        check_topic("ü\ud800")
    check_topic("ü")
    check_topic("a.*")
    with pytest.raises(ValueError, match=r"'a\.\*' stands for many topics"):
        check_topic("a.*", may_be_pattern=False)


class TopicsMachine(RuleBasedStateMachine):
    """Topics against a set of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.topics = Topics()
        self.model: set[tuple[object, str]] = set()

    connections = Bundle("connections")

    @rule(target=connections)
    def new(self) -> object:
        return object()

    @rule(connection=connections, topic=st.sampled_from(NAMES))
    def join(self, connection: Any, topic: str) -> None:
        assert self.topics.join(connection, topic) is ((connection, topic) not in self.model)
        self.model.add((connection, topic))

    @rule(connection=connections, topic=st.sampled_from(NAMES))
    def leave(self, connection: Any, topic: str) -> None:
        assert self.topics.leave(connection, topic) is ((connection, topic) in self.model)
        self.model.discard((connection, topic))

    @rule(connection=consumes(connections))
    def leave_all(self, connection: Any) -> None:
        for name in NAMES:
            self.topics.leave(connection, name)
        self.model = {pair for pair in self.model if pair[0] is not connection}

    @invariant()
    def agree(self) -> None:
        names = {topic for _, topic in self.model}
        assert set(self.topics.names(None)) == names
        assert len(self.topics) == len(names)
        for name in NAMES:
            expected = {connection for connection, topic in self.model if topic == name}
            assert set(self.topics.members(name)) == expected
        for name in ("a", "a.b", "a.b.c", "a.", "b.x", "ab"):
            falls_under = {
                name,
                *(n for n in NAMES if n.endswith(".*") and name.startswith(n[:-1])),
            }
            recipients = list(self.topics.recipients(name))
            assert len(recipients) == len(set(recipients))
            assert set(recipients) == {one for one, topic in self.model if topic in falls_under}
        for connection, _ in self.model:
            joined = {topic for other, topic in self.model if other is connection}
            assert set(self.topics.names(connection)) == joined  # type: ignore[arg-type]


TestTopics = TopicsMachine.TestCase
TestTopics.settings = hypothesis_settings(max_examples=30, stateful_step_count=30, deadline=None)
