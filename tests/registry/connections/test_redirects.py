"""Where requests may be sent on to, what they carry there, and how long it is remembered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockersave.errors import CredentialsError, DockersaveError, NetworkError
from dockersave.limits import LIMITS
from dockersave.model.digest import digest_of
from dockersave.registry import exchange
from dockersave.registry.connections.redirects import host_of, is_local_service, origin, target
from dockersave.registry.connections.transport import Transport
from dockersave.registry.redirect_cache import RedirectCache
from tests.images import Store, image, random_layer
from tests.registry.clients import descriptor_of, drain, opened
from tests.registry.simulator import Auth, Fault, Simulator

BIG = random_layer(1_000_000)
BLOB = descriptor_of(BIG)
SAMPLE = image([BIG])
STORE = Store.of({"team/sample": SAMPLE})
HERE = "https://registry.example/v2/a/blobs/sha256:1"
CANARY = "canary-p4ssw0rd"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("https://storage.example/x?sig=a%2Fb", "https://storage.example/x?sig=a%2Fb"),
        ("/storage/x", "https://registry.example/storage/x"),
        ("//storage.example/x", "https://storage.example/x"),
        ("other", "https://registry.example/v2/a/blobs/other"),
        ("?again=1", "https://registry.example/v2/a/blobs/sha256:1?again=1"),
        ("storage.example/x", "https://registry.example/v2/a/blobs/storage.example/x"),
        # Headers bring bytes, which are sent as they are, escaped where a request cannot have them.
        ("https://storage.example/a b/\xc3\xbc", "https://storage.example/a%20b/%C3%BC"),
        ("https://storage.example/\xfc", "https://storage.example/%FC"),
        ("https://storage.example/a/../b//c/./d", "https://storage.example/a/../b//c/./d"),
        (
            "https://storage.example/%2f%2F%zz?s=%2b+%3D&x",
            "https://storage.example/%2f%2F%zz?s=%2b+%3D&x",
        ),
        ("https://storage.example?sig=%2f", "https://storage.example/?sig=%2f"),
        ('https://storage.example/{a}|"b"?c=[1]^`', 'https://storage.example/{a}|"b"?c=[1]^`'),
        ("/x?to=https://a/b?c#part", "https://registry.example/x?to=https://a/b?c"),
        ("https://storage.example", "https://storage.example/"),
        ("https://storage.example/x#part", "https://storage.example/x"),
        ("HTTPS://Storage.Example:444/x", "https://Storage.Example:444/x"),
        ("https://[2001:db8::1]:444/x", "https://[2001:db8::1]:444/x"),
    ],
)
def test_where_a_location_leads(location: str, leads_to: str) -> None:
    assert target(HERE, location) == leads_to


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (None, "without saying where"),
        ("", "without saying where"),
        ("ftp://storage.example/x", "not a valid address"),
        ("file:///etc/passwd", "not a valid address"),
        ("javascript:alert(1)", "not a valid address"),
        ("https://storage.example:99999/", "not a valid address"),
        ("https://[::1/", "not a valid address"),
        ("https://storage\x1b.example/", "not a valid address"),
        ("https://st\u00f6rage.example/", "not a valid address"),
        ("https://sto rage.example/", "not a valid address"),
        ("https://[::1] /", "not a valid address"),
        ("https://[::1]x:5/", "not a valid address"),
        ("https://storage.example:x/", "not a valid address"),
        ("https://user:word@storage.example/", "credentials in it"),
        ("http://storage.example/x", "from https to plain http"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("https://[fe80::1]/", "link-local"),
        ("https://[::ffff:169.254.169.254]/", "link-local"),
        ("https://[fd00:ec2::254]/", "link-local"),
        ("https://metadata.google.internal/", "link-local"),
        ("https://METADATA.google.internal./", "link-local"),
        ("gopher://\x1b[2J.example/", "not a valid address"),
    ],
)
def test_where_it_must_not_lead(location: str | None, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        target(HERE, location)
    assert not caught.value.transient
    assert str(caught.value).isprintable()


def test_plain_http_may_lead_to_plain_http() -> None:
    assert target("http://a.example/", "http://b.example/x") == "http://b.example/x"
    assert target(HERE, "http://b.example/x", downgrade=True) == "http://b.example/x"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.example/x", "https://a.example:443"),
        ("https://a.example:443", "https://a.example:443"),
        ("https://a.example./", "https://a.example:443"),
        ("http://a.example/", "http://a.example:80"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
        ("https://user@a.example/", "https://a.example:443"),
    ],
)
def test_origins(url: str, expected: str) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize("url", ["", "a.example", "ftp://a.example", "http:///x", "https://:80"])
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(NetworkError, match="not an http or https address"):
        origin(url)


def test_hosts_for_messages() -> None:
    assert host_of("https://a.example/x") == "a.example"
    assert host_of("https://a.example:80/x") == "a.example:80"
    assert host_of("http://[::1]:5000/x") == "[::1]:5000"


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "::1", "fd00::1", "a.b"])
def test_private_addresses_are_normal(host: str) -> None:
    assert not is_local_service(host)


# Against servers


def test_chains_end() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.redirect_chain(LIMITS.redirects + 1))
        with pytest.raises(NetworkError, match=f"redirects more than {LIMITS.redirects} times"):
            run.registry.manifest("team/sample", "latest")


def test_circles_end() -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.redirect("{path}"))
        with pytest.raises(NetworkError, match="redirects more than"):
            run.registry.blob("team/sample", BLOB)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_status_that_redirects(status: int) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.faults.add(Fault.redirect("{path}?again", status, times=1))
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest


def test_a_location_has_an_end() -> None:
    address = "https://storage.example/x?sig="
    longest = address + "s" * (LIMITS.link - len(address))
    assert target(HERE, longest) == longest
    with pytest.raises(NetworkError, match="redirects to an address of 16385 characters") as caught:
        target(HERE, longest + "s")
    assert not caught.value.transient


def test_a_location_cannot_bring_headers_along() -> None:
    """CR and LF end a header: text after them must not become part of the next request."""
    with Simulator(STORE) as server, opened(server.host) as run:
        location = "{path}?a\r\nX-Injected: yes\r\n\r\nGET /evil HTTP/1.1"
        server.faults.add(Fault.redirect(location, times=1))
        with_escapes = Fault.redirect("{path}?a%0d%0aX-Injected:%20yes", skip=1, times=1)
        server.faults.add(with_escapes)
        try:
            run.registry.manifest("team/sample", "latest")
        except DockersaveError as error:
            assert str(error).isprintable()  # noqa: PT017
        for request in server.requests:
            assert "x-injected" not in request.headers
            assert "evil" not in request.path


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_credentials_do_not_follow_a_redirect(scheme: str) -> None:
    auth = Auth(scheme=scheme, user="somebody", password=CANARY)  # type: ignore[arg-type]
    with (
        Simulator(STORE, auth=auth) as server,
        Simulator(STORE) as elsewhere,
        opened(server.host, user="somebody", password=CANARY) as run,
    ):
        server.faults.add(
            Fault.redirect(f"{elsewhere.base_url}{{path}}", on=("blob", "manifest", "config"))
        )
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert digest_of(drain(run.registry.blob("team/sample", BLOB))) == BIG.digest
        assert len(elsewhere.requests) == 2
        assert all("authorization" not in request.headers for request in elsewhere.requests)


@pytest.mark.parametrize(
    "challenge", ['Basic realm="give it to me"', 'Bearer realm="{realm}",service="x"']
)
def test_credentials_do_not_answer_another_host(challenge: str) -> None:
    """An attacker that the registry redirects to asks for credentials itself."""
    auth = Auth(scheme="basic", user="somebody", password=CANARY)
    with (
        Simulator(STORE, auth=auth) as server,
        Simulator(STORE) as attacker,
        opened(server.host, user="somebody", password=CANARY) as run,
    ):
        server.faults.add(Fault.redirect(f"{attacker.base_url}{{path}}", on="blob", skip=1))
        value = challenge.replace("{realm}", f"{attacker.base_url}/token")
        attacker.faults.add(Fault.status(401, headers=(("WWW-Authenticate", value),)))
        with pytest.raises(DockersaveError) as caught:
            run.registry.blob("team/sample", BLOB)
        secrets = [request.headers["authorization"] for request in server.requests[1:]]
        assert secrets
        for request in attacker.requests:
            assert "authorization" not in request.headers
            assert CANARY.encode() not in request.raw
        assert CANARY not in str(caught.value) + caught.value.hint + "".join(run.lines)
        # To log in there would change nothing.
        assert "log in" not in caught.value.hint
        assert "operator" in caught.value.hint or challenge.startswith("Bearer")


def test_credentials_follow_within_the_origin() -> None:
    auth = Auth(scheme="basic", user="somebody", password=CANARY)
    with (
        Simulator(STORE, auth=auth) as server,
        opened(server.host, user="somebody", password=CANARY) as run,
    ):
        server.faults.add(Fault.redirect("{path}?again", on="manifest", skip=1, times=1))
        assert run.registry.manifest("team/sample", "latest").digest == SAMPLE.digest
        assert len(server.requests) == 3


def test_forty_ranges_are_one_redirect() -> None:
    with Simulator(STORE, storage=True) as server, opened(server.host) as run:
        step = BIG.size // 40 + 1
        parts = [
            drain(run.registry.blob("team/sample", BLOB, at, min(at + step, BIG.size)))
            for at in range(0, BIG.size, step)
        ]
        assert digest_of(b"".join(parts)) == BIG.digest
        assert len(server.of("blob")) == 1
        assert len(server.of("storage")) == len(parts) == 40
        assert len({request.connection for request in server.of("storage")}) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault.expire_urls(on="storage", skip=1, times=1),
        Fault.status(400, on="storage", skip=1, times=1),
        Fault.status(404, on="storage", skip=1, times=1),
        Fault.status(500, on="storage", skip=1, times=1),
        Fault.reset(on="storage", skip=1, times=2),  # once for a connection that was kept
    ],
    ids=["expired", "400", "404", "500", "reset"],
)
def test_an_address_that_has_expired_is_asked_for_again(fault: Fault) -> None:
    with Simulator(STORE, storage=True) as server, opened(server.host) as run:
        server.faults.add(fault)
        for start in (0, 1000, 2000):
            assert len(drain(run.registry.blob("team/sample", BLOB, start, start + 1000))) == 1000
        assert server.faults.struck()
        assert len(server.of("blob")) == 2


def test_a_registry_whose_addresses_are_always_expired() -> None:
    with Simulator(STORE, storage=True) as server, opened(server.host) as run:
        server.faults.add(Fault.status(403, on="storage"))
        for _ in range(2):
            with pytest.raises(DockersaveError, match=f"{server.storage_host}: refuses the blob"):
                run.registry.blob("team/sample", BLOB)


def test_what_is_remembered_has_an_end() -> None:
    """Thousands of blobs, each at an address as long as they come."""
    places = RedirectCache()
    for number in range(1000):
        places.remember(f"sha256:{number}", f"https://storage.example/{number}/" + "x" * 16_000)
    kept = [url for number in range(1000) if (url := places.get(f"sha256:{number}"))]
    assert kept
    assert sum(map(len, kept)) <= LIMITS.redirect_cache
    assert places.get("sha256:999"), "the last is the one that is wanted"
    places.remember("sha256:999", "https://storage.example/other")
    assert places.get("sha256:999") == "https://storage.example/other"
    places.forget("sha256:999")
    assert places.get("sha256:999") is None


def test_an_expired_address_is_asked_for_again_once() -> None:
    """A range, the same again, and all of it: not twice of each."""
    with Simulator(STORE, storage=True) as server, opened(server.host) as run:
        server.faults.add(Fault.status(403, on="storage"))
        with pytest.raises(DockersaveError):
            run.registry.blob("team/sample", BLOB, 5, 10)
        assert [request.kind for request in server.requests] == ["blob", "storage"] * 3


OWN = [
    None,
    Auth(scheme="basic", user="somebody", password=CANARY),
    Auth(scheme="bearer", user="somebody", password=CANARY),
]
EXPIRED = [(401, ()), (401, ("Basic realm='storage'",)), (403, ()), (400, ()), (410, ())]


@pytest.mark.parametrize("auth", OWN, ids=["open", "basic", "bearer"])
@pytest.mark.parametrize(("status", "challenges"), EXPIRED, ids=str)
@pytest.mark.parametrize("served", [0, 1])
def test_a_signed_address_of_the_registry_itself(
    auth: Auth | None, status: int, challenges: tuple[str, ...], served: int
) -> None:
    """Its refusal is about the signature: it is neither a challenge nor the last word."""
    login = {"user": "somebody", "password": CANARY} if auth else {}
    with Simulator(STORE, auth=auth) as server, opened(server.host, **login) as run:
        server.service.storage = server.base_url
        headers = tuple(("WWW-Authenticate", one) for one in challenges)
        fault = Fault.status(status, on="storage", headers=headers, skip=served, times=1)
        server.faults.add(fault)
        for start in (0, 1000, 2000):
            assert len(drain(run.registry.blob("team/sample", BLOB, start, start + 1000))) == 1000
        assert server.faults.struck()
        kinds = [request.kind for request in server.requests if request.kind != "token"]
        asked = ["blob", "blob"] if auth else ["blob"]
        rest = ["storage", "blob", "storage", "storage", "storage"]
        assert kinds == [*asked, *["storage"] * served, *rest[: 5 - served]]
        assert all("authorization" not in request.headers for request in server.of("storage"))


@pytest.mark.parametrize("status", [401, 403])
def test_signed_addresses_of_the_registry_itself_that_never_work(status: int) -> None:
    with Simulator(STORE) as server, opened(server.host) as run:
        server.service.storage = server.base_url
        server.faults.add(Fault.status(status, on="storage"))
        with pytest.raises(CredentialsError, match=server.host):
            run.registry.blob("team/sample", BLOB)
        kinds = [request.kind for request in server.requests if request.kind in {"blob", "storage"}]
        assert kinds == ["blob", "storage"] * 2


def test_an_address_of_the_registry_itself_that_wants_credentials_after_all() -> None:
    auth = Auth(scheme="basic", user="somebody", password=CANARY)
    with (
        Simulator(STORE, auth=auth) as server,
        opened(server.host, user="somebody", password=CANARY) as run,
    ):
        server.faults.add(Fault.redirect("/other{path}?a=b", on="blob", skip=1))
        with pytest.raises(DockersaveError):  # there is nothing at this address
            run.registry.blob("team/sample", BLOB)
        sent = ["authorization" in one.headers for one in server.requests if "/other" in one.path]
        assert sent == [False, False, True]


def test_an_exchange_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redirects that last a little less than the timeout each are not followed for ever."""
    now = 100.0
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=lambda: now))
    with Simulator(STORE, storage=True) as server, opened(server.host, timeout=30) as run:
        send = Transport.send

        def slow(*arguments: Any, **options: Any) -> Any:
            nonlocal now
            now += 20
            return send(*arguments, **options)

        monkeypatch.setattr(Transport, "send", slow)
        server.faults.add(Fault.status(403, on="storage"))
        with pytest.raises(NetworkError, match="no answer within 30 seconds, redirects included"):
            run.registry.blob("team/sample", BLOB, 5, 10)
        assert [request.kind for request in server.requests] == ["blob", "storage"]
