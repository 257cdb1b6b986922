"""The list of extensions in a header, by RFC 6455 §9.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.protocol.extensions import Extension, parse_extensions

TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)


class TestParse:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([], []),
            ([""], []),
            ([" , ,"], []),
            (["a"], [Extension("a")]),
            (["a,b", "c"], [Extension("a"), Extension("b"), Extension("c")]),
            ([" a ;\tb = c ; d , e"], [Extension("a", (("b", "c"), ("d", None))), Extension("e")]),
            (['a; b="c"'], [Extension("a", (("b", "c"),))]),
            ([r'a; b="\c\d"; e'], [Extension("a", (("b", "cd"), ("e", None)))]),
            (["a; b; b=1"], [Extension("a", (("b", None), ("b", "1")))]),
            (
                ["permessage-deflate; client_max_window_bits"],
                [Extension("permessage-deflate", (("client_max_window_bits", None),))],
            ),
        ],
    )
    def test_good(self, values: list[str], expected: list[Extension]) -> None:
        assert parse_extensions(values) == expected

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("a b", "'b' can't stand in a list"),
            ("a;", "';' can't stand"),
            ("a; b=", "'=' can't stand"),
            ("a; =b", "'; =b' can't stand"),
            ("; b", "'; b' can't stand"),
            ("a; b=c d", "'d' can't stand"),
            ('a; b="c', "'=\"c' can't stand"),
            ('a; b=""', "'' is no value"),
            ('a; b="c d"', "'c d' is no value"),
            (r'a; b="\""', "'\"' is no value"),
            ("a; b=\xe9", "'=\xe9' can't stand"),
            ("\x00", r"'\\x00' can't stand"),
        ],
    )
    def test_bad(self, value: str, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            parse_extensions([value])

    @pytest.mark.parametrize(
        "value",
        [
            'a; b="' + r"\c" * 15_000,
            'a; b="' + "c" * 30_000,
            "a" + " " * 30_000 + "b",
            "a;" * 15_000,
            "a; " + " " * 30_000,
            " " * 30_000 + "=",
            "a; b" + "\t" * 30_000 + "; ;",
        ],
    )
    def test_long_and_bad(self, value: str) -> None:
        """CVE-2020-7662: whatever it is, it is read once; the quotation is short."""
        with pytest.raises(ValueError, match=r"can't stand") as caught:
            parse_extensions([value])
        assert len(str(caught.value)) < 200

    def test_only_40_characters_are_quoted(self) -> None:
        for value, expected in [
            ("a " + "b" * 90, f"'{'b' * 40}' can't stand in a list of extensions"),
            (
                f'a; b="{"c" * 39} {"d" * 90}"',
                f"'{'c' * 39} ' is no value of an extension's parameter: it must be a token",
            ),
        ]:
            with pytest.raises(ValueError, match="extension") as caught:
                parse_extensions([value])
            assert str(caught.value) == expected

    def test_long_and_good(self) -> None:
        assert len(parse_extensions(["a; b=c," * 10_000])) == 10_000
        assert len(parse_extensions([","] * 10_000)) == 0


@given(st.lists(st.tuples(TOKEN, st.lists(st.tuples(TOKEN, st.none() | TOKEN), max_size=3))))
def test_what_is_written_reads_the_same(some: list[tuple[str, list[tuple[str, str | None]]]]):
    extensions = [Extension(name, tuple(parameters)) for name, parameters in some]
    assert parse_extensions([", ".join(map(str, extensions))]) == extensions
