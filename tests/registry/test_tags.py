"""Lists of tags, page by page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dockersave.errors import ContentError
from dockersave.limits import LIMITS
from dockersave.registry import tags
from tests.images import Store, image, random_layer
from tests.registry.clients import opened
from tests.registry.simulator import Fault, Simulator

BIG = random_layer(1_000_000)
SAMPLE = image([BIG])
STORE = Store.of({"team/sample": SAMPLE})


@pytest.mark.parametrize("absolute", [False, True])
def test_tags_come_page_by_page(absolute: bool) -> None:
    tags = [f"v{number:03}" for number in range(25)]
    store = Store()
    store.add("team/sample", SAMPLE, *tags)
    with (
        Simulator(store, page_size=10, absolute_links=absolute) as server,
        opened(server.host) as run,
    ):
        assert list(run.registry.tags("team/sample")) == tags
        assert len(server.requests) == 3


def test_a_list_of_tags_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "LIMITS", replace(LIMITS, tags_pages=50))
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.endless_tags())
        with pytest.raises(ContentError, match="the list of tags never ends"):
            for _ in run.registry.tags("team/sample"):
                pass
        assert len(server.requests) == 50


def test_a_list_of_tags_that_goes_in_a_circle() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.header("Link", '</v2/team/sample/tags/list?n=1>; rel="next"'))
        with pytest.raises(ContentError, match="never ends"):
            list(run.registry.tags("team/sample"))
        assert len(server.requests) < 10


@pytest.mark.parametrize(
    "link",
    ["</v2/team/sample/tags/list>; rel=next", '<?>; rel="next"', f"<?{'x' * 20_000}>; rel=next"],
    ids=len,
)
def test_no_tag_is_left_out_without_a_word(link: str) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.header("Link", link))
        with pytest.raises(ContentError, match="there are more tags, but not where"):
            list(run.registry.tags("team/sample"))
        assert len(server.requests) == 1


def test_a_tag_list_has_an_end_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "LIMITS", replace(LIMITS, tags=1000))
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.endless_tags())
        with pytest.raises(ContentError, match="never ends"):
            list(run.registry.tags("team/sample"))
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.body(b'{"tags":[' + b'"",' * LIMITS.json_marks + b'"",""]}'))
        with pytest.raises(ContentError, match="more than fit on a page"):
            list(run.registry.tags("team/sample"))


def test_a_list_of_tags_goes_on_at_the_same_origin_only() -> None:
    """Only the query of a link is used; whose host it names does not matter."""
    store = Store()
    store.add("team/sample", SAMPLE, "a", "b")
    with (
        Simulator(store, page_size=1) as server,
        Simulator(store) as attacker,
        opened(server.host) as run,
    ):
        url = f"{attacker.base_url}/elsewhere?n=1&last=a"
        server.faults.add(Fault.header("Link", f'<{url}>; rel="next"', times=1))
        assert list(run.registry.tags("team/sample")) == ["a", "b"]
        assert not attacker.requests


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ('{"name":"x","tags":null}', []),
        ('{"name":"x"}', []),
        ('{"Name":"x","Tags":["a"]}', ["a"]),
        ('{"name":"x","tags":["a\\u001b[2J"]}', ["a?[2J"]),
    ],
    ids=["null", "none", "capitals", "escapes"],
)
def test_odd_lists_of_tags(body: str, tags: list[str]) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.body(body))
        assert list(run.registry.tags("team/sample")) == tags


@pytest.mark.parametrize("body", ["[]", "<html>", '{"tags":{"a":1}}', '{"tags":[1]}', "[" * 99999])
def test_what_is_no_list_of_tags(body: str) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.body(body))
        with pytest.raises(ContentError, match="are not a list"):
            list(run.registry.tags("team/sample"))


def test_an_error_that_is_served_as_a_list() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.body('{"errors":[{"code":"DENIED","message":"no"}]}'))
        with pytest.raises(ContentError, match="are not a list: DENIED: no"):
            list(run.registry.tags("team/sample"))


def test_a_registry_that_refuses_the_size_of_a_page() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.error("PAGINATION_NUMBER_INVALID", "invalid number", times=1))
        assert list(run.registry.tags("team/sample")) == ["latest"]
