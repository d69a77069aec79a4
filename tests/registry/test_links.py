"""Next pages of tag lists: followed or refused, but never ignored."""

from __future__ import annotations

import pytest

from dockersave.registry.links import UnreadableLinkError, next_link

THERE = "/v2/a/tags/list?n=1&last=b"


@pytest.mark.parametrize(
    "header",
    [
        f'<{THERE}>; rel="next"',
        f"<{THERE}>;rel=next",
        f"<{THERE}> ; REL = NEXT ;",
        f'<{THERE}>; rel="start next"',
        f'<{THERE}>; rel="next\tlast"',
        f'<{THERE}>; title="a, b; rel=prev"; rel=next',
        f'<{THERE}>; title="a \\" <x>; rel=last"; rel=next; rel=first',
        f'</first>; rel="first", <{THERE}>; rel="next"',
        f',, </a,b;c>; rel="prev";,<{THERE}>; rel="next"',
        f'</x>, <{THERE}>; crossorigin; rel="next"',
        f'{THERE}; rel="next"',  # Quay in 2016
        f"{THERE};rel=next",
        f'/first; rel="first", {THERE}; rel="next"',
    ],
)
def test_the_next_page(header: str) -> None:
    assert next_link(header) == THERE


@pytest.mark.parametrize(
    "header",
    [
        "", " ", ",", "</a>", '</a>; rel="prev"', '</a>; rel="nextish"', '</a>; rel="not-next"',
        '</a>; title="next"', '</a>; title="x, <b>; rel=next"', '</a>; rel=prev; rel="next"',
        '<next>; rel="first"', '/next; rel="first"', "http://a/b; rel=last", "</a>; rel",
    ],
)  # fmt: skip
def test_there_is_no_next_page(header: str) -> None:
    assert next_link(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "<<<>>>;;;rel=next", '</a; rel="next"', '</a>; rel="next', '</a> "x"; rel=next',
        '; rel="next"', '="x", </a>; rel=next', "</a>; rel==next",
    ],
)  # fmt: skip
def test_nobody_can_say_where(header: str) -> None:
    with pytest.raises(UnreadableLinkError):
        next_link(header)


def test_a_long_header_takes_no_time() -> None:
    for header in ("<" * 60_000, ";" * 60_000, "a" * 60_000, '</a>;x="' * 8_000, "</a>," * 12_000):
        assert next_link(header) is None
