"""Challenges: every production of RFC 9110, section 11.6.1, and malformed ones."""

from __future__ import annotations

import string
import time
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dockersave.registry.credentials.challenge import Challenge, parse

Expected: TypeAlias = list[tuple[str, dict[str, str], str]]

# Each alternative of each rule, by name (RFC 9110, sections 5.6.1 to 5.6.4 and 11.2 to 11.6.1).
PRODUCTIONS: dict[str, tuple[str, Expected]] = {
    "WWW-Authenticate: nothing": ("", []),
    "WWW-Authenticate: one challenge": ("Basic", [("basic", {}, "")]),
    "WWW-Authenticate: several": (
        'Bearer realm="r", Basic realm="b"',
        [("bearer", {"realm": "r"}, ""), ("basic", {"realm": "b"}, "")],
    ),
    "list: OWS around commas": (
        "Bearer a=1 \t,\t b=2,c=3 , Basic d=4",
        [("bearer", {"a": "1", "b": "2", "c": "3"}, ""), ("basic", {"d": "4"}, "")],
    ),
    "list: empty elements between challenges": (
        ", ,Basic,, Digest a=1,,",
        [("basic", {}, ""), ("digest", {"a": "1"}, "")],
    ),
    "list: empty elements between parameters": (
        "Digest ,a=1,, b=2",
        [("digest", {"a": "1", "b": "2"}, "")],
    ),
    "challenge: scheme alone, then another": (
        "Negotiate, Basic realm=x",
        [("negotiate", {}, ""), ("basic", {"realm": "x"}, "")],
    ),
    "challenge: 1*SP": ("Basic    realm=x", [("basic", {"realm": "x"}, "")]),
    "challenge: token68": ("NTLM abc", [("ntlm", {}, "abc")]),
    "challenge: token68, then another": (
        "NTLM abc=, Basic realm=x",
        [("ntlm", {}, "abc="), ("basic", {"realm": "x"}, "")],
    ),
    "challenge: no parameters": ("Basic ", [("basic", {}, "")]),
    "auth-scheme: in any case": ("bEaReR realm=x", [("bearer", {"realm": "x"}, "")]),
    "auth-scheme: every tchar": (
        "!#$%&'*+-.^_`|~09azAZ a=1",
        [("!#$%&'*+-.^_`|~09azaz", {"a": "1"}, "")],
    ),
    "token68: every character": (
        "N azAZ09-._~+/",
        [("n", {}, "azAZ09-._~+/")],
    ),
    "token68: padding": ("N abc===", [("n", {}, "abc===")]),
    "token68: padding that looks like an empty value": ("N realm=", [("n", {}, "realm=")]),
    "auth-param: name in any case": ("B ReAlM=x", [("b", {"realm": "x"}, "")]),
    "auth-param: every tchar in the name": (
        "B !#$%&'*+-.^_`|~09azAZ=1",
        [("b", {"!#$%&'*+-.^_`|~09azaz": "1"}, "")],
    ),
    "auth-param: BWS": ('B a \t= \t1, b ="2", c= 3', [("b", {"a": "1", "b": "2", "c": "3"}, "")]),
    "auth-param: every tchar in a token": (
        "B a=!#$%&'*+-.^_`|~09azAZ",
        [("b", {"a": "!#$%&'*+-.^_`|~09azAZ"}, "")],
    ),
    "quoted-string: empty": ('B a="", b=1', [("b", {"a": "", "b": "1"}, "")]),
    "quoted-string: separators inside": (
        'B scope="repository:a/b:pull,push", realm="https://r/t?a=b, Basic c=d"',
        [("b", {"scope": "repository:a/b:pull,push", "realm": "https://r/t?a=b, Basic c=d"}, "")],
    ),
    "qdtext: HTAB, SP, every VCHAR": (
        f'B a="\t {"".join(c for c in string.printable[:94] if c not in chr(34) + chr(92))}"',
        [("b", {"a": "\t " + "".join(c for c in string.printable[:94] if c not in '"\\')}, "")],
    ),
    "qdtext: obs-text": ('B a="\x80é\xff"', [("b", {"a": "\x80é\xff"}, "")]),
    "quoted-pair: quote and backslash": (
        r'B a="x\"y\\z", b=1',
        [("b", {"a": 'x"y\\z', "b": "1"}, "")],
    ),
    "quoted-pair: anything else": ('B a="\\r\\\t\\ \\\xe9"', [("b", {"a": "r\t \xe9"}, "")]),
}

# What the grammar forbids but registries have sent, or an attacker might.
BEYOND: dict[str, tuple[str, Expected]] = {
    "a URL without quotes": (
        "Bearer realm=https://a.example/t?x=1,service=s",
        [("bearer", {"realm": "https://a.example/t?x=1", "service": "s"}, "")],
    ),
    "parameters without commas": ('B a="1" b="2"', [("b", {"a": "1", "b": "2"}, "")]),
    "a parameter twice": ("B a=1, A=2", [("b", {"a": "1"}, "")]),
    "a parameter before any scheme": ("realm=x, Basic realm=y", [("basic", {"realm": "y"}, "")]),
    "an open quote": (
        'Basic realm=x, Bearer realm="https://a, Basic',
        [
            ("basic", {"realm": "x"}, ""),
            ("bearer", {}, ""),
        ],
    ),
    "an open quote that ends in a backslash": ('B a="x\\', [("b", {}, "")]),
    "garbage before a challenge": ('@@ "x", Basic realm=y', [("basic", {"realm": "y"}, "")]),
    "only garbage": ("@=;", []),
}


def as_tuples(challenges: list[Challenge]) -> Expected:
    return [(one.scheme, one.parameters, one.token68) for one in challenges]


@pytest.mark.parametrize("name", [*PRODUCTIONS, *BEYOND])
def test_reads(name: str) -> None:
    header, expected = (PRODUCTIONS | BEYOND)[name]
    assert as_tuples(parse([header])) == expected


def test_reads_several_fields_like_one() -> None:
    fields = ['Bearer realm="r",service=s', "", 'Basic realm="b"']
    assert parse(fields) == parse([", ".join(fields)])


TCHAR = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters
tokens = st.text(TCHAR, min_size=1, max_size=8)
blanks = st.text(" \t", max_size=2)
values = st.text(
    st.characters(min_codepoint=9, max_codepoint=255).filter(
        lambda c: c == "\t" or (c >= " " and c != "\x7f")
    ),
    max_size=12,
)


@st.composite
def parameters(draw: st.DrawFn, name: str) -> tuple[str, str]:
    """A parameter as it is written, and its value."""
    if draw(st.booleans()):
        value = draw(tokens)
        written = value
    else:
        value = draw(values)
        escaped = (f"\\{char}" if char in '"\\' or draw(st.booleans()) else char for char in value)
        written = f'"{"".join(escaped)}"'
    return f"{name}{draw(blanks)}={draw(blanks)}{written}", value


@st.composite
def headers(draw: st.DrawFn) -> tuple[str, Expected]:
    """A field value by the grammar, and what it means."""
    texts: list[str] = []
    expected: Expected = []
    for _ in range(draw(st.integers(0, 4))):
        scheme = draw(tokens)
        kind = draw(st.sampled_from(["alone", "token68", "parameters"]))
        meaning: dict[str, str] = {}
        token68 = ""
        text = scheme
        if kind == "token68":
            alphabet = string.ascii_letters + string.digits + "-._~+/"
            token68 = draw(st.text(alphabet, min_size=1, max_size=8)) + "=" * draw(
                st.integers(0, 2)
            )
            text += " " * draw(st.integers(1, 3)) + token68
        elif kind == "parameters":
            names = draw(st.lists(tokens, min_size=1, max_size=3, unique_by=str.lower))
            written = []
            for name in names:
                one, value = draw(parameters(name))
                written.append(one)
                meaning[name.lower()] = value
            separator = f"{draw(blanks)},{draw(blanks)}"
            text += " " * draw(st.integers(1, 3)) + separator.join(written)
        texts.append(text)
        expected.append((scheme.lower(), meaning, token68))
    separator = f"{draw(blanks)},{draw(blanks)}" * draw(st.integers(1, 2))
    return separator.join(texts), expected


@given(headers())
@example(("A a==, B", [("a", {}, "a=="), ("b", {}, "")]))
def test_reads_whatever_the_grammar_allows(case: tuple[str, Expected]) -> None:
    header, expected = case
    assert as_tuples(parse([header])) == expected


@pytest.mark.parametrize(
    "unit",
    [
        "a ",
        "a=",
        'a="',
        'a="\\" ',
        "a b",
        "=",
        '"',
        "\\",
        ", ",
        "a=b,",
        "\t",
        "a=\t",
        "@,",
        "@",
        "a\t",
    ],
)
def test_takes_time_in_proportion(unit: str) -> None:
    """A header of 256 KiB, more than http.client takes, in a moment."""
    header = "Basic " + unit * ((1 << 18) // len(unit))
    begun = time.process_time()
    parse([header])
    assert time.process_time() - begun < 2
