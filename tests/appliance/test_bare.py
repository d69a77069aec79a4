"""The main job with the final binary on bare hosts: names, trust, helpers, threads."""

from __future__ import annotations

import ctypes
import datetime
import json
import os
import re
import runpy
import socket
import ssl
import struct
import subprocess
import tarfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave import Network, Options, save
from dockersave.cli.guides import guide, topics
from dockersave.registry.connections.trust import BUILT_IN
from tests.appliance.conftest import ROOT, TARGET, WORK
from tests.appliance.hosts import COMMAND, BareHost, leftovers, temporary_space
from tests.images import GOOD, Store, sample_image
from tests.registry.real import PASSWORD, USER, Registries, Registry
from tests.registry.simulator import Simulator, Tls


@pytest.fixture
def secure(registries: Registries) -> Registry:
    return registries.get(tls=True)


def expected(
    registry: Registry, repository: str, tmp_path: Path, options: Options | None = None
) -> bytes:
    """Return the archive as the module in this interpreter writes it."""
    path = tmp_path / "expected.tar"
    save(
        registry.reference(repository),
        output=str(path),
        options=options or Options(),
        network=Network(
            insecure=not registry.tls, ca_file=str(registry.ca_file) if registry.ca_file else None
        ),
    )
    return path.read_bytes()


SAVES = {
    "as served": ([], "docker", Options()),
    "gzip layers unpacked": (["--gunzip"], "docker", Options(gunzip=True)),
    "zstd layers unpacked": (["--gunzip"], "zstd", Options(gunzip=True)),
    "compressed": (["--xz"], "docker", Options(xz=True)),
}


@pytest.mark.parametrize("kind", SAVES)
def test_main_job_over_tls(bare: BareHost, secure: Registry, tmp_path: Path, kind: str) -> None:
    """From an empty root, with nothing but a certificate of the registry's authority."""
    words, repository, options = SAVES[kind]
    assert repository in GOOD
    assert secure.ca_file is not None
    bare.write("/ca.pem", secure.ca_file.read_text())
    reference = secure.reference(repository)
    done = bare.run(*words, "-o", "/a.tar", reference, environment={"SSL_CERT_FILE": "/ca.pem"})
    assert (done.returncode, leftovers(bare.root)) == (0, []), done.stderr
    assert (bare.root / "a.tar").read_bytes() == expected(secure, repository, tmp_path, options)
    checked = bare.run("--verify", "/a.tar")
    assert checked.returncode == 0, checked.stderr
    # Trust came from the certificate: without it, the embedded authorities do not know this one.
    refused = bare.run("--sha", reference, "--retries", "0")
    assert refused.returncode == 5
    assert "certificate" in refused.stderr
    assert "the built-in authorities" in refused.stderr


@pytest.mark.parametrize(
    "place",
    [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/docker/certs.d/{host}/ca.crt",
    ],
)
def test_authorities_of_the_host(bare: BareHost, secure: Registry, place: str) -> None:
    assert secure.ca_file is not None
    bare.write(place.format(host=secure.host), secure.ca_file.read_text())
    done = bare.run("--sha", secure.reference("docker"))
    assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr


def test_localhost_needs_no_file(bare: BareHost, registries: Registries) -> None:
    done = bare.run("--sha", f"localhost:{registries.get().port}/docker", "--insecure")
    assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr


def test_name_in_hosts_file_alone(bare: BareHost, registries: Registries) -> None:
    bare.write("/etc/hosts", "127.0.0.1 registry.test\n")
    done = bare.run("--sha", f"registry.test:{registries.get().port}/docker", "--insecure")
    assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr


def test_name_on_several_lines_of_hosts_file(bare: BareHost, registries: Registries) -> None:
    """Of which the first leads nowhere."""
    bare.write("/etc/hosts", "127.0.0.77 registry.test\n127.0.0.1 registry.test\n")
    host = f"registry.test:{registries.get().port}"
    done = bare.run("--sha", f"{host}/docker", "--insecure", "--retries", "0")
    assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr


@pytest.fixture
def name_server() -> Iterator[str]:
    """Run a name server that knows registry.test, and return its address."""
    address = "127.0.77.53"
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def serve() -> None:
        while True:
            try:
                question, client = server.recvfrom(512)
            except OSError:
                return
            end = question.index(b"\0", 12) + 5
            kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
            known = question[12:end].lower().startswith(b"\x08registry\x04test\x00")
            answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
            count = 1 if known and kind == 1 else 0
            head = question[:2] + struct.pack(
                "!HHHHH", 0x8180 | (0 if known else 3), 1, count, 0, 0
            )
            server.sendto(head + question[12:end] + answer * count, client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield address
    server.close()


def test_name_from_resolv_conf_alone(
    bare: BareHost, registries: Registries, name_server: str
) -> None:
    bare.write("/etc/resolv.conf", f"nameserver {name_server}\n")
    port = registries.get().port
    done = bare.run("--sha", f"registry.test:{port}/docker", "--insecure")
    assert (done.returncode, done.stdout[:7]) == (0, "sha256:"), done.stderr
    unknown = bare.run("--sha", f"unknown.test:{port}/docker", "--insecure", "--retries", "0")
    assert unknown.returncode == 5
    assert "unknown.test" in unknown.stderr


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (["127.0.0.1/x"], "127.0.0.1: the network is unreachable", "--wait waits for it"),
        (["192.0.2.1/x"], "192.0.2.1: the network is unreachable", "--wait waits for it"),
        (["debian", "--retries", "0"], "the name server does not answer", "/etc/resolv.conf"),
    ],
    ids=["loopback", "address", "name"],
)
def test_no_network_at_all(bare: BareHost, words: list[str], problem: str, hint: str) -> None:
    done = bare.run(*words, namespaces=("--mount", "--propagation", "private", "--net"))
    assert (done.returncode, done.stdout, leftovers(bare.root)) == (5, "", [])
    error, advice = done.stderr.splitlines()
    assert error.startswith(f"dockersave: error: {words[0]}:latest: ")
    assert error.endswith(problem)
    assert hint in advice
    assert [path.name for path in bare.root.iterdir()] == [COMMAND]


def test_a_clock_that_is_slow(bare: BareHost) -> None:
    """As on a host that boots in 1970: the certificate will be valid, and is not yet."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    tls = Tls(not_before=now + day, not_after=now + 9 * day)
    with Simulator(Store.of({"app": sample_image()}), tls=tls) as server:
        bare.write("/etc/ssl/cert.pem", server.ca_pem.decode())
        done = bare.run(f"{server.host}/app")
        assert not server.requests
    assert (done.returncode, done.stdout, leftovers(bare.root)) == (5, "", [])
    assert done.stderr.splitlines() == [
        f"dockersave: error: {server.host}/app:latest: "
        f"{server.host}: its certificate is not yet valid",
        f"  this host's clock says {now:%Y-%m-%d}: set it; --wait waits for it",
    ]


def test_helpers_get_the_users_environment(
    binary: Path, registries: Registries, tmp_path: Path
) -> None:
    registry = registries.get(auth="htpasswd")
    seen = tmp_path / "seen"
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"ServerURL": registry.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nenv >{seen}\necho '{answer}'\n")
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "test"}}))
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DOCKER_CONFIG": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "LD_LIBRARY_PATH": "/users/own",
    }
    done = subprocess.run(
        [str(binary), "--sha", "--insecure", registry.reference("docker")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    variables = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    for name in ("PWD", "OLDPWD", "SHLVL", "_"):  # the helper's own shell
        variables.pop(name, None)
    assert variables == environment


def refuse_threads() -> None:
    """Have the kernel refuse clone3(2), as an old container engine's filter does."""
    clone3, allow, refuse = 435, 0x7FFF0000, 0x00050001
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, clone3), (6, 0, 0, refuse), (6, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    table = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.prctl(22, 2, ctypes.create_string_buffer(table), 0, 0) != 0:  # PR_SET_SECCOMP
        os._exit(99)


def test_refused_threads(binary: Path, registries: Registries, tmp_path: Path) -> None:
    registry = registries.get()
    output = tmp_path / "a.tar"
    done = subprocess.run(
        [str(binary), "--insecure", "-o", str(output), registry.reference("docker")],
        env={"TMPDIR": str(tmp_path)},
        preexec_fn=refuse_threads,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == expected(registry, "docker", tmp_path)
    assert leftovers(tmp_path) == []


LIBC = "GNU LESSER GENERAL PUBLIC LICENSE"
LICENSES = {
    "backports/zstd": "For Zstandard software",
    "base_library.zip": "PYTHON SOFTWARE FOUNDATION LICENSE",
    "cacert.": "Mozilla Public License",
    "dockersave/help": "Apache License",
    "dockersave-static": "PyInstaller Development Team",
    "ld-linux": LIBC,
    "libbz2": "Julian R Seward",
    "libc.so": LIBC,
    "libcrypto": "The OpenSSL Project",
    "libdl": LIBC,
    "libexpat": "Expat maintainers",
    "libffi": "Anthony Green",
    "libgcc_s": "GCC Runtime Library Exception",
    "liblzma": "Lasse Collin",
    "libm.so": LIBC,
    "libnss_": LIBC,
    # staticx's, or ours.
    "libnssfix": "Apache License" if TARGET["EMULATOR"] else "Jonathon Reinhart",
    "libpthread": LIBC,
    "libpython": "PYTHON SOFTWARE FOUNDATION LICENSE",
    "libresolv": LIBC,
    "librt": LIBC,
    "libssl": "The OpenSSL Project",
    "libz.so": "Jean-loup Gailly",
    "libzstd": "For Zstandard software",
    "licenses.txt": "Apache License",
    "python3": "PYTHON SOFTWARE FOUNDATION LICENSE",
}
"""Names of files in the binary, with a text from each licence."""


def test_licenses(bare: BareHost) -> None:
    contents, _, text = bare.run("--licenses").stdout.partition("=" * 72)
    with tarfile.open(WORK / "files.tar") as archive:
        names = [member.name for member in archive if member.isfile()]
    assert "libc.so.6" in names
    for name in names:
        (wanted,) = (part for start, part in LICENSES.items() if name.startswith(start))
        assert wanted in text, name
    for component in ("dockersave ", "Python 3.", "urllib3 ", "Zstandard 1.", "zig ", "musl, "):
        assert f"\n- {component}" in f"\n{contents}"
    assert "For Zstandard software" in text
    assert "Rich Felker" in text
    # Each text once, and what it is the licence of above it.
    assert text.count("Version 2.1, February 1999") == 1
    assert re.search(r"\ndockersave \S+\nApache-2.0, ", text)


def test_modules_are_compared_one_by_one() -> None:
    """By `make reproducible`, which says which of them differ."""
    parts = runpy.run_path(str(ROOT / "build" / "compare.py"))["contents"](WORK)
    assert zlib.decompress(parts["module dockersave.model.manifests"])


def test_authorities_built_in() -> None:
    with tarfile.open(WORK / "files.tar") as archive:
        file = archive.extractfile(BUILT_IN)
        assert file is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=zlib.decompress(file.read()))
    assert len(context.get_ca_certs()) > 100


def test_help_and_version(bare: BareHost, binary: Path) -> None:
    text = bare.run("--help").stdout
    assert text.startswith("usage: dockersave ")
    for topic in topics():
        assert bare.run("--help", topic).stdout == guide(topic)
    assert binary.stat().st_size <= 8_500_000


def test_temporary_space(binary: Path, tmp_path: Path) -> None:
    """At most 22 MB, whatever is asked for."""
    most = temporary_space(binary, tmp_path)
    assert 10_000_000 < most <= 22_000_000
