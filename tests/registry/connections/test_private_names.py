"""What we override or use of urllib3 and http.client although it is private.

Nothing promises that a new version still has it, or calls it. If one does not, look here first.
"""

from __future__ import annotations

import http.client
import inspect
import queue
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from urllib3.connection import HTTPConnection

from dockersave.cancellation import Cancellation
from dockersave.registry.connections import pools, sockets
from tests.registry.raw_server import answer, raw_server

OVERRIDDEN = {
    HTTPConnection: {"_new_conn": ["self"]},
    urllib3.HTTPSConnectionPool: {"_validate_conn": ["self", "conn"]},
    http.client.HTTPResponse: {
        "_read_next_chunk_size": ["self"],
        "_read_and_discard_trailer": ["self"],
    },
    queue.LifoQueue: {"_put": ["self", "item"]},
}
USED = {
    urllib3.HTTPConnectionPool: {
        "_new_conn": ["self"],
        "_put_conn": ["self", "conn"],
        "_prepare_proxy": ["self", "conn"],
    },
    http.client.HTTPResponse: {"_read_status": ["self"], "_check_close": ["self"]},
}
CASES = [
    (kind, name, parameters)
    for table in (OVERRIDDEN, USED)
    for kind, names in table.items()
    for name, parameters in names.items()
]


@pytest.mark.parametrize(
    ("kind", "name", "parameters"),
    CASES,
    ids=[f"{kind.__name__}.{name}" for kind, name, _ in CASES],
)
def test_a_private_method_is_as_it_was(kind: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(kind, name)).parameters) == parameters


def _ours() -> Iterator[type]:
    watch = sockets.Watch(Cancellation())
    for pool in pools.pool_classes(watch).values():
        yield from (pool, pool.ConnectionCls, pool.QueueCls)
    yield from (sockets.Body, sockets.socket_class(watch))


def test_every_override_of_a_private_method_is_listed() -> None:
    known = {name for names in OVERRIDDEN.values() for name in names}
    found = set()
    for ours in _ours():
        mine = [each for each in ours.__mro__ if each.__module__.startswith("dockersave.")]
        others = [each for each in ours.__mro__ if each not in mine]
        found |= {
            name
            for each in mine
            for name in vars(each)
            if name.startswith("_") and not name.startswith(("__", "_abc_"))
            if any(name in vars(other) for other in others)
        }
    assert found == known


def test_the_private_attributes_are_there() -> None:
    with raw_server(lambda line: answer(b"")) as server:
        pool: Any = urllib3.connection_from_url(f"http://{server.host}")
        response: Any = pool.request("GET", "/", preload_content=False)
        original: Any = response._original_response
        assert isinstance(original, http.client.HTTPResponse)
        assert getattr(original, "_method") == "GET"  # noqa: B009
        connection = pool._new_conn()
        assert connection._dns_host == "127.0.0.1"
        assert isinstance(pool.pool, pool.QueueCls)
        for name in ("mutex", "not_empty", "queue", "unfinished_tasks"):
            assert hasattr(pool.pool, name), name
        response.close()
        pool.close()
    assert connection.response_class
    assert urllib3.PoolManager().pool_classes_by_scheme.keys() == {"http", "https"}
    assert "_sslobj" in ssl.SSLSocket.sendall.__globals__["SSLSocket"].recv.__code__.co_names
