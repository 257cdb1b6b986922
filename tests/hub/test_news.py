"""Broadcasts as they travel between hubs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws import Policy
from hubws.hub.news import News

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.binary() | texts,
    st.none() | st.lists(texts),
    st.none() | texts | st.integers(),
    st.none() | st.sampled_from(Policy),
    st.none() | texts | st.integers(),
)
def test_comes_as_it_went(message, topics, user, policy, key) -> None:
    news = News(message=message, topics=topics, user=user, policy=policy, key=key)
    assert News.decode(news.encode()) == news


@pytest.mark.parametrize("name", ["user", "key"])
@pytest.mark.parametrize("value", [1.5, ("a",), True, b"x"])
def test_names_are_str_or_int(name, value) -> None:
    with pytest.raises(TypeError, match=f"a {name} must be str or int, not"):
        News(message="x", **{name: value})


@pytest.mark.parametrize(
    "body",
    [b"", b"x\ny", b'{"who":1}\n', b'{"text":true}\n\xff', b'{"text":true,"policy":"odd"}\n'],
)
def test_anything_else_is_refused(body) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        News.decode(body)
