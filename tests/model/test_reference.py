"""References: as github.com/distribution/reference reads them, judged by skopeo where it can."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.errors import UsageError
from dockersave.model.reference import Reference
from tests.processes import program

SHA256 = f"sha256:{'0f' * 32}"
SHA512 = f"sha512:{'0f' * 64}"
HEX = "1a3f" * 16

# The text; registry, repository, tag and digest; Docker's familiar name.
GOOD = {
    "debian": ("docker.io", "library/debian", "latest", None, "debian:latest"),
    "debian:12": ("docker.io", "library/debian", "12", None, "debian:12"),
    "library/debian": ("docker.io", "library/debian", "latest", None, "debian:latest"),
    "docker.io/debian": ("docker.io", "library/debian", "latest", None, "debian:latest"),
    "docker.io/library/debian": ("docker.io", "library/debian", "latest", None, "debian:latest"),
    "index.docker.io/debian": ("docker.io", "library/debian", "latest", None, "debian:latest"),
    "index.docker.io/a/b": ("docker.io", "a/b", "latest", None, "a/b:latest"),
    "registry-1.docker.io/a/b": (
        "registry-1.docker.io", "a/b", "latest", None, "registry-1.docker.io/a/b:latest",
    ),
    "library/a/b": ("docker.io", "library/a/b", "latest", None, "library/a/b:latest"),
    "docker.io/library/a/b:c": ("docker.io", "library/a/b", "c", None, "library/a/b:c"),
    "other/library": ("docker.io", "other/library", "latest", None, "other/library:latest"),
    "a/b/c": ("docker.io", "a/b/c", "latest", None, "a/b/c:latest"),
    "test_com/foo": ("docker.io", "test_com/foo", "latest", None, "test_com/foo:latest"),
    "test.com": ("docker.io", "library/test.com", "latest", None, "test.com:latest"),
    "test.com:5000": ("docker.io", "library/test.com", "5000", None, "test.com:5000"),
    "test.com/a": ("test.com", "a", "latest", None, "test.com/a:latest"),
    "test.com/a:5000": ("test.com", "a", "5000", None, "test.com/a:5000"),
    "test.com:5000/a": ("test.com:5000", "a", "latest", None, "test.com:5000/a:latest"),
    "test:5000/a/b:c": ("test:5000", "a/b", "c", None, "test:5000/a/b:c"),
    "localhost/a": ("localhost", "a", "latest", None, "localhost/a:latest"),
    "localhost:5000/a/b": ("localhost:5000", "a/b", "latest", None, "localhost:5000/a/b:latest"),
    "localhost": ("docker.io", "library/localhost", "latest", None, "localhost:latest"),
    "127.0.0.1:5000/a": ("127.0.0.1:5000", "a", "latest", None, "127.0.0.1:5000/a:latest"),
    "192.168.0.1": ("docker.io", "library/192.168.0.1", "latest", None, "192.168.0.1:latest"),
    "xn--n3h.com/a:b": ("xn--n3h.com", "a", "b", None, "xn--n3h.com/a:b"),
    "b.gcr.io/test.example.com/my-app:x": (
        "b.gcr.io", "test.example.com/my-app", "x", None, "b.gcr.io/test.example.com/my-app:x",
    ),
    "a--b/c__d/e.f/g---h": (
        "docker.io", "a--b/c__d/e.f/g---h", "latest", None, "a--b/c__d/e.f/g---h:latest",
    ),
    "a:_x.Y-9": ("docker.io", "library/a", "_x.Y-9", None, "a:_x.Y-9"),
    f"a:{'x' * 128}": ("docker.io", "library/a", "x" * 128, None, f"a:{'x' * 128}"),
    f"a@{SHA256}": ("docker.io", "library/a", None, SHA256, f"a@{SHA256}"),
    f"r.io/a/b@{SHA256}": ("r.io", "a/b", None, SHA256, f"r.io/a/b@{SHA256}"),
    f"r.io:5/a@{SHA512}": ("r.io:5", "a", None, SHA512, f"r.io:5/a@{SHA512}"),
    f"docker.io/{HEX}": ("docker.io", f"library/{HEX}", "latest", None, f"{HEX}:latest"),
    f"{HEX}:tag": ("docker.io", f"library/{HEX}", "tag", None, f"{HEX}:tag"),
    f"{HEX[1:]}": ("docker.io", f"library/{HEX[1:]}", "latest", None, f"{HEX[1:]}:latest"),
    f"r.io/{'a/' * 124}bc": (
        "r.io", f"{'a/' * 124}bc", "latest", None, f"r.io/{'a/' * 124}bc:latest",
    ),
}  # fmt: skip

# What newer versions of the grammar read, and Debian's skopeo does not.
NEWER = {
    f"a:b@{SHA256}": ("docker.io", "library/a", "b", SHA256, f"a:b@{SHA256}"),
    f"r.io:5/a:b@{SHA512}": ("r.io:5", "a", "b", SHA512, f"r.io:5/a:b@{SHA512}"),
    "Foo/bar": ("Foo", "bar", "latest", None, "Foo/bar:latest"),
    "[::1]/a": ("[::1]", "a", "latest", None, "[::1]/a:latest"),
    "[::1]:5000/a:b": ("[::1]:5000", "a", "b", None, "[::1]:5000/a:b"),
    "[fc00:1:2:3:4:5:6:7]:5000/a": (
        "[fc00:1:2:3:4:5:6:7]:5000", "a", "latest", None, "[fc00:1:2:3:4:5:6:7]:5000/a:latest",
    ),
    f"[2001:DB8::]/a@{SHA256}": ("[2001:DB8::]", "a", None, SHA256, f"[2001:DB8::]/a@{SHA256}"),
}  # fmt: skip

# Invalid references, each with a text from the error.
BAD = {
    "": "name is missing",
    ":tag": "name is missing",
    f"@{SHA256}": "name is missing",
    "localhost/": "name is missing",
    "r.io/:tag": "name is missing",
    "a:": "'' is not a valid tag",
    "a:b:c": "'b:c' is not a valid tag",
    "a:-b": "'-b' is not a valid tag",
    "a:.b": "'.b' is not a valid tag",
    "a:ü": "is not a valid tag",
    "a:b c": "is not a valid tag",
    "a:b\n": "is not a valid tag",
    f"a:{'x' * 129}": "is not a valid tag",
    "a/b:c/d": "'c/d' is not a valid tag",
    "a@": "'' is not a valid digest",
    "a@b": "'b' is not a valid digest",
    "a@sha256:": "is not a valid digest",
    f"a@{SHA256[:-1]}": "is not a valid digest",
    f"a@{SHA256}0": "is not a valid digest",
    f"a@{SHA256.upper()}": "is not a valid digest",
    f"a@sha256:{'0F' * 32}": "is not a valid digest",
    f"a@md5:{'0f' * 16}": "is not a valid digest",
    f"a@{SHA256}:tag": "is not a valid digest",
    f"a@{SHA256}@{SHA256}": "is not a valid digest",
    f"a@{SHA256}\n": "is not a valid digest",
    "Debian": "write 'debian'",
    "DEBIAN:12": "write 'debian:12'",
    "a/Debian:V1": "write 'a/debian:V1'",
    "r.io:5/A/b": "write 'r.io:5/a/b'",
    "-a": "'-a' cannot be part of a name",
    "a-": "'a-' cannot be part of a name",
    "_a/_b": "cannot be part of a name",
    "____/____": "cannot be part of a name",
    "a..b": "cannot be part of a name",
    "a___b": "cannot be part of a name",
    "a_.b": "cannot be part of a name",
    "a-.b": "cannot be part of a name",
    "a b": "cannot be part of a name",
    "aa/asdf$$^/aa": "cannot be part of a name",
    "a/../b": "'..' cannot be part of a name",
    "ä": "cannot be part of a name",
    "a\x00b": "cannot be part of a name",
    "/a": "part of the name is empty",
    "a/": "part of the name is empty",
    "a//b": "part of the name is empty",
    "docker///docker": "part of the name is empty",
    "-docker.io/a": "not a host name",
    "r.io-/a": "not a host name",
    "r..io/a": "not a host name",
    ".r.io/a": "not a host name",
    "r_o.io/a": "not a host name",
    "É/a": "not a host name",
    "r.io:/a": "'' is not a port",
    "r.io:0/a": "'0' is not a port",
    "r.io:65536/a": "'65536' is not a port",
    "r.io:x/a": "'x' is not a port",
    "r.io:-1/a": "'-1' is not a port",
    "r.io:٣/a": "is not a port",
    f"r.io:{'9' * 5000}/a": "is not a port",
    "r.io:5:6/a": "two colons",
    "fc00::1:5000/a": "two colons",
    "[::1]": "name is missing",
    "[::1]:5000": "name is missing",
    "[::1/a": "not an IPv6 address in brackets",
    "[::1]5000/a": "not an IPv6 address in brackets",
    "[]/a": "not an IPv6 address",
    "[::g]/a": "not an IPv6 address",
    "[1.2.3.4]/a": "not an IPv6 address",
    "[fe80::1%eth0]:5000/a": "zone or dots",
    "[2001:db8:3:4::192.0.2.33]:5000/a": "zone or dots",
    "https://github.com/a/b": "no scheme",
    "docker://debian": "no scheme",
    HEX: "image ID",
    f"r.io/{'a/' * 125}a": "longer than 255",
    f"{'a/' * 128}a:tag": "longer than 255",
}  # fmt: skip


def test_a_tag_from_a_variable_that_is_not_set() -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse("app:")
    assert caught.value.hint == "is a variable of your script not set?"


@pytest.mark.parametrize("text", [*GOOD, *NEWER])
def test_reads(text: str) -> None:
    registry, repository, tag, digest, shown = (GOOD | NEWER)[text]
    reference = Reference.parse(text)
    assert reference == Reference(registry, repository, tag, digest)
    assert str(reference) == shown
    assert Reference.parse(str(reference)) == reference
    assert reference.name == f"{registry}/{repository}"
    assert reference.version == (digest or tag)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("MyCo.example/MyCo", "MyCo.example/myco"),
        ("MyCo.example/MyCo:MyCo", "MyCo.example/myco:MyCo"),
        ("MyCo/MyCo:MyCo", "MyCo/myco:MyCo"),
        ("MyCo:MyCo", "myco:MyCo"),
    ],
)
def test_capitals_in_a_name_alone_are_replaced(text: str, right: str) -> None:
    with pytest.raises(UsageError, match="has capital letters") as caught:
        Reference.parse(text)
    assert caught.value.hint == f"write {right!r}"


@pytest.mark.parametrize(
    "text", ["localhost:5000", "127.0.0.1:5987", "registry.example.com:5000", "ghcr.io:443"]
)
def test_an_address_is_not_an_image(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Reference.of(text)
    assert str(caught.value) == f"invalid reference {text!r}: it names a registry, not an image"
    assert caught.value.hint.startswith(f"add the image: {text}/NAME; ")
    for scheme in ("http", "docker"):
        with pytest.raises(UsageError) as caught:
            Reference.of(f"{scheme}://{text}")
        assert caught.value.hint == "write [registry/]name[:tag][@digest]"
    # To Docker, it is one; and it can be meant.
    meant = Reference.of(f"docker.io/{text}")
    assert meant == Reference.parse(text) == Reference.of(meant)
    assert Reference.of(f"{text}/name").registry == text


@pytest.mark.parametrize(
    "text", ["debian:5000", "localhost", "test.com", "test.com:v1", "test.com:999999", "a.b/c:80"]
)
def test_what_looks_like_an_address_and_is_none(text: str) -> None:
    assert Reference.of(text) == Reference.parse(text)


@pytest.mark.parametrize("text", BAD)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError) as info:
        Reference.parse(text)
    message = f"{info.value} {info.value.hint}"
    assert BAD[text] in message
    assert info.value.exit_code == 2
    assert info.value.hint
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.real
@pytest.mark.parametrize("text", [*GOOD, *BAD])
def test_skopeo_agrees(text: str) -> None:
    if "\0" in text:
        return  # no program can be given such an argument
    # It parses the reference, and stops before it has sent anything.
    command = [program("skopeo"), "--command-timeout", "1us", "inspect", "--raw"]
    ended = subprocess.run(
        [*command, f"docker://{text}"], capture_output=True, text=True, check=False
    )
    asked = re.search(r"pinging container registry (\S+):", ended.stderr)
    if text in GOOD:
        assert asked, ended.stderr
        registry = GOOD[text][0]
        assert asked[1] == ("registry-1.docker.io" if registry == "docker.io" else registry)
    elif not re.search(r":(0|9{5000}|65536)/", text):  # its grammar has no limit on ports
        assert not asked, ended.stderr


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("debian", "library-debian-latest"),
        ("a/b/c:d", "a-b-c-d"),
        ("r.io:5000/a_b:1.2", "a_b-1.2"),
        ("[::1]:5/a", "a-latest"),
        (f"a@{SHA256}", f"library-a-{SHA256.replace(':', '-')}"),
        (f"a:b@{SHA256}", "library-a-b"),
    ],
)
def test_file_stem(text: str, stem: str) -> None:
    assert Reference.parse(text).file_stem == stem


component = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,3}", fullmatch=True)
domains = st.from_regex(
    r"([a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\.[a-zA-Z0-9]([a-z0-9-]{0,9}[a-z0-9])?){1,3}|localhost)"
    r"(:[1-9][0-9]{0,3})?",
    fullmatch=True,
)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", fullmatch=True)


@given(
    domains.filter(lambda domain: domain not in {"docker.io", "index.docker.io"}),
    st.lists(component, min_size=1, max_size=4).map("/".join).filter(lambda path: len(path) < 180),
    st.none() | tags,
    st.none() | digests,
)
def test_reads_whatever_the_grammar_allows(
    domain: str, path: str, tag: str | None, digest: str | None
) -> None:
    text = f"{domain}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = Reference.parse(text)
    expected = tag or (None if digest else "latest")
    assert reference == Reference(domain, path, expected, digest)
    assert Reference.parse(str(reference)) == reference
    assert "/" not in reference.file_stem
    assert ":" not in reference.file_stem
