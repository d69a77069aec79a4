"""Policies: what they mean, and what is no policy."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from dockersave.errors import SignatureError, UsageError
from dockersave.model.reference import Reference
from dockersave.signatures.policy import Policy, requirements
from tests.fuzz.inputs import documents
from tests.signatures.keyring import public

KIND = "ECDSA P-256"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two keys, which is the working directory's neighbour."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for number, name in enumerate(("team.pem", "other.pem")):
        (tmp_path / name).write_bytes(public(KIND, number))
    return tmp_path


def policy(folder: Path, document: object) -> Policy:
    """A policy of a file beside the keys."""
    path = folder / "policy.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return Policy.read(path)


def verdict(found: Policy, image: str) -> object:
    """What a policy says of an image, in short."""
    try:
        needed = requirements([found], Reference.parse(image))
        return [(len(each.keys), dict(each.annotations)) for each in needed]
    except SignatureError:
        return "refused"


OURS = {
    "default": "refuse",
    "archives": {"keys": ["team.pem"]},
    "images": {
        "r.io": {"keys": ["team.pem"]},
        "r.io/team": {"keys": ["team.pem", "other.pem"], "annotations": {"env": "prod"}},
        "r.io/team/free": "accept",
        "r.io/team/free/not": "refuse",
        "localhost:5000/": {"keys": ["team.pem"]},
        "docker.io/library/debian": "accept",
    },
}


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("r.io/a", [(1, {})]),
        ("r.io/teams", [(1, {})]),
        ("r.io/team", [(2, {"env": "prod"})]),
        ("r.io/team/a:1", [(2, {"env": "prod"})]),
        ("r.io/team/free", []),
        ("r.io/team/free/not/at/all", "refused"),
        ("r.io:443/a", [(1, {})]),
        ("R.io:80/team", [(2, {"env": "prod"})]),
        ("r.io:00443/a", [(1, {})]),
        ("r.io:080/team", [(2, {"env": "prod"})]),
        ("r.io:5000/a", "refused"),
        ("r.io.evil.io/a", "refused"),
        ("localhost:5000/a", [(1, {})]),
        ("localhost:05000/a", [(1, {})]),
        ("docker.io:0443/library/debian", []),
        ("debian", []),
        ("index.docker.io/library/debian:12", []),
        ("Registry-1.docker.io:443/library/debian:12", []),
        ("alpine", "refused"),
        ("x.io/r.io/team", "refused"),
    ],
)
def test_the_longest_name_counts(folder: Path, image: str, says: object) -> None:
    assert verdict(policy(folder, OURS), image) == says


def test_a_default_may_accept(folder: Path) -> None:
    assert verdict(policy(folder, {"default": "accept"}), "debian") == []


@pytest.mark.parametrize(
    "scope",
    [
        "r.io/app:1.2",
        f"r.io/app@sha256:{'a' * 64}",
        "r.io/*",
        "*.r.io",
        "https://r.io/app",
        "r.io//a",
    ],
)
def test_a_rule_that_no_image_can_meet_is_an_error(folder: Path, scope: str) -> None:
    # With "accept" for all others, such a rule would ask for nothing.
    with pytest.raises(UsageError, match="is no name: there must be no tag"):
        policy(folder, {"default": "accept", "images": {scope: {"keys": ["team.pem"]}}})


@pytest.mark.parametrize(
    ("scope", "image"),
    [
        ("r.io/team", "R.IO/team/app"),
        ("R.io/Team", "r.io/team/app"),
        ("docker.io", "debian"),
        ("index.docker.io/library/debian", "debian:12"),
        ("[::1]:5000/", "[::1]:5000/app"),
    ],
)
def test_a_name_counts_in_every_spelling(folder: Path, scope: str, image: str) -> None:
    found = policy(folder, {"default": "accept", "images": {scope: "refuse"}})
    assert verdict(found, image) == "refused"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"\xff", "it is not JSON"),
        (b'{\n  "default": refuse\n}\n', "it is not JSON from line 2, column 14 on"),
        (b"[]", "it is not a JSON object"),
        (b'{"default": "accept", "default": "refuse"}', "it names a member twice"),
        ({}, 'it needs "default"'),
        ({"default": "allow"}, 'it needs "default"'),
        ({"default": "accept", "image": {}}, "it has 'image', which means nothing"),
        ({"default": "accept", "images": []}, 'it needs "default"'),
        ({"default": "accept", "images": {"debian": "accept"}}, "'debian' names no registry"),
        (
            {"default": "accept", "images": {"r.io/a": "accept", "r.io/a/": "refuse"}},
            "'r.io/a/' is there twice",
        ),
        ({"default": "accept", "images": {"r.io": "sign"}}, "'r.io' needs \"accept\", \"refuse\""),
        ({"default": "accept", "images": {"r.io": {}}}, "'r.io' needs a list"),
        ({"default": "accept", "images": {"r.io": {"keys": []}}}, "'r.io' needs a list"),
        ({"default": "accept", "images": {"r.io": {"keys": "a"}}}, "'r.io' needs a list"),
        (
            {"default": "accept", "images": {"r.io/a": "accept", "R.io:443/a": "refuse"}},
            "'R.io:443/a' is there twice",
        ),
        (
            {"default": "accept", "images": {"docker.io": "accept", "index.docker.io": "refuse"}},
            "'index.docker.io' is there twice",
        ),
        *(
            ({"default": "accept", "images": {scope: "refuse"}}, f"{scope!r} is no name")
            for scope in ("r.io/a:1", "*.r.io", "https://r.io/a", " r.io", "r.io//a")
        ),
        (
            {"default": "accept", "images": {"r.io": {"keys": ["a"], "key": "b"}}},
            "'r.io' needs \"accept\", \"refuse\"",
        ),
        (
            {"default": "accept", "images": {"r.io": {"keys": ["a"], "annotations": {"x": 1}}}},
            "'r.io' has \"annotations\" that are not texts",
        ),
        ({"default": "accept", "archives": {"keys": []}}, "'archives' needs a list of \"keys\""),
        ({"default": [], "images": {}, "transports": {}}, "it mixes two forms"),
        ({"transports": {}}, 'it needs a list "default"'),
        ({"default": [], "transports": {"docker": []}}, 'its "transports" are malformed'),
        ({"default": [], "transport": {}}, "it has 'transport', which means nothing"),
    ],
)  # fmt: skip
def test_what_is_no_policy(folder: Path, document: object, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        policy(folder, document)
    assert caught.value.message.startswith(f"the policy {folder}/policy.json cannot be used: {why}")
    assert caught.value.hint


def test_a_policy_that_cannot_be_relied_on(folder: Path) -> None:
    policy(folder, OURS)
    path = folder / "policy.json"
    path.chmod(0o666)
    with pytest.raises(UsageError, match="can be changed by everybody"):
        Policy.read(path)
    path.chmod(0o644)
    folder.chmod(0o777)
    with pytest.raises(UsageError, match="can be replaced by everybody") as caught:
        Policy.read(path)
    assert caught.value.hint == f"chmod o-w {folder}"
    Path("link.json").symlink_to(path)
    with pytest.raises(UsageError, match="can be replaced by everybody"):
        Policy.read("link.json")
    folder.chmod(0o1777)
    assert Policy.read(path), "like /tmp, where others replace nothing"
    folder.chmod(0o755)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        Policy.read(folder)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Policy.read(folder / "none.json")
    with pytest.raises(UsageError, match="this is not a path"):
        Policy.read("nul\0")
    path.write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(UsageError, match="has more than"):
        Policy.read(path)
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="is not a file"):
        Policy.read(folder / "pipe")


def test_one_file_is_not_a_list_of_files(folder: Path) -> None:
    for keys in (str(folder / "team.pem"), folder / "team.pem"):
        with pytest.raises(TypeError, match=r"write \[.*team.pem'\)?\]"):
            Policy.of_keys(keys)  # type: ignore[arg-type, unused-ignore]
    assert Policy.of_keys([folder / "team.pem"])


def test_a_key_that_everybody_can_change_is_refused(folder: Path) -> None:
    (folder / "team.pem").chmod(0o666)
    with pytest.raises(UsageError, match=r"the key .*/team.pem can be changed by everybody"):
        verdict(policy(folder, OURS), "r.io/a")
    with pytest.raises(UsageError, match="can be changed by everybody"):
        verdict(policy(folder, containers(signed_by(folder))), "r.io/team/app")


def test_a_key_that_is_needed_must_be_there(folder: Path) -> None:
    (folder / "team.pem").unlink()
    found = policy(folder, OURS)
    assert verdict(found, "debian") == [], "it is not needed"
    for reference in (Reference.parse("r.io/a"), None):
        with pytest.raises(UsageError, match=r"the key .*/team.pem cannot be read"):
            requirements([found], reference)
    theirs = policy(folder, containers(signed_by(folder), default="insecureAcceptAnything"))
    assert verdict(theirs, "debian") == [], "it is not needed"
    with pytest.raises(UsageError, match=r"the key .*/team.pem cannot be read"):
        verdict(theirs, "r.io/team/app")


def test_of_several_keys_all_must_be_there(folder: Path) -> None:
    """Whoever wrote the policy meant another one than what is there: so with containers, too."""
    (folder / "other.pem").unlink()
    both = [str(folder / name) for name in ("team.pem", "other.pem")]
    theirs = policy(folder, containers({"type": "sigstoreSigned", "keyPaths": both}))
    for found in (policy(folder, OURS), theirs):
        with pytest.raises(UsageError, match=r"the key .*/other.pem cannot be read"):
            verdict(found, "r.io/team/app")


def test_a_key_is_read_once(folder: Path) -> None:
    """What was checked before the first request is what signatures are checked with."""
    ours, theirs = policy(folder, OURS), policy(folder, containers(signed_by(folder)))
    assert verdict(ours, "r.io/a") == verdict(theirs, "r.io/team/app") == [(1, {})]
    (folder / "team.pem").write_bytes(b"something else")
    assert verdict(ours, "r.io/b") == verdict(theirs, "r.io/team/app:2") == [(1, {})]


def containers(*rules: dict[str, Any], scope: str = "r.io/team", default: str = "reject") -> Any:
    """A policy in the form of containers."""
    return {"default": [{"type": default}], "transports": {"docker": {scope: list(rules)}}}


def signed_by(folder: Path, **more: Any) -> dict[str, Any]:
    return {"type": "sigstoreSigned", "keyPath": str(folder / "team.pem")} | more


@pytest.mark.parametrize(
    ("scope", "image", "matches"),
    [
        ("r.io/team", "r.io/team/app:1", True),
        ("r.io/team", "r.io/teams/app", False),
        ("r.io", "r.io/a/b/c", True),
        ("r.io/a:1", "r.io/a:1", True),
        ("r.io/a:1", "r.io/a:2", False),
        ("*.r.io", "x.r.io/a", True),
        ("*.r.io", "x.y.r.io:5000/a", True),
        ("*.r.io", "r.io/a", False),
        ("", "x.io/a", True),
        ("docker.io/library/debian", "debian", True),
        ("r.io/a:1", "R.io:443/a:1", True),
        ("R.io:443/a", "R.io:443/a", True),
        ("r.io:5000/a", "r.io:05000/a", True),
        ("*.r.io", "X.R.io/a", True),
    ],
)
def test_names_in_policies_of_containers(
    folder: Path, scope: str, image: str, matches: bool
) -> None:
    found = policy(folder, containers({"type": "insecureAcceptAnything"}, scope=scope))
    assert verdict(found, image) == ([] if matches else "refused")


_ACCEPT, _REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]


@pytest.mark.parametrize(
    ("rules", "default", "is_accepted"),
    [
        ({}, _ACCEPT, True),
        ({}, _REJECT, False),
        ({"docker": {"": _REJECT}}, _ACCEPT, True),
        ({"oci-archive": {"": _ACCEPT}}, _REJECT, True),
        ({"oci-archive": {"": _REJECT}}, _ACCEPT, False),
        ({"docker-archive": {"": _REJECT}}, _ACCEPT, False),
        ({"oci": {"": _REJECT}}, _ACCEPT, False),
        ({"oci": {"": _ACCEPT}, "docker-archive": {"": _REJECT}}, _ACCEPT, False),
        ({"oci-archive": {}}, _REJECT, False),
        ({"docker-archive": {"": []}}, _ACCEPT, False),
        ({"docker-archive": {"/srv": _REJECT}}, _ACCEPT, False),
    ],
)
def test_archives_in_policies_of_containers(
    folder: Path, rules: dict[str, Any], default: Any, is_accepted: bool
) -> None:
    """An archive can be of several kinds: none of the rules may forbid it."""
    found = policy(folder, {"default": default, "transports": rules})
    if is_accepted:
        assert list(found.find(None)) == []
    else:
        with pytest.raises(SignatureError):
            found.find(None)


def test_requirements_of_containers(folder: Path) -> None:
    one, other = str(folder / "team.pem"), str(folder / "other.pem")
    data = b64encode(public(KIND)).decode()
    for rule in (
        {"keyPath": one},
        {"keyPaths": [one]},
        {"keyData": data},
        {"keyDatas": [data]},
    ):
        found = policy(folder, containers({"type": "sigstoreSigned"} | rule))
        assert verdict(found, "r.io/team/app") == [(1, {})]
    both = containers(signed_by(folder), signed_by(folder, keyPath=other))
    assert verdict(policy(folder, both), "r.io/team/app") == [(1, {}), (1, {})], "both must have"
    several = containers({"type": "sigstoreSigned", "keyPaths": [one, other]})
    assert verdict(policy(folder, several), "r.io/team/app") == [(2, {})], "either may have"


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "reject"},
        {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"},
        {"type": "signedBaseLayer"},
        {"type": "sigstoreSigned", "keyPath": "team.pem", "rekorPublicKeyPath": "rekor.pem"},
        {"type": "sigstoreSigned", "fulcio": {}},
        {"type": "sigstoreSigned", "keyPath": "../team.pem", "signedIdentity": {"type": "remap"}},
        {"type": "sigstoreSigned", "keyPath": "../team.pem", "signedIdentity": "matchExact"},
        {
            "type": "sigstoreSigned",
            "keyPath": "../team.pem",
            "signedIdentity": {"type": "matchExact", "more": 1},
        },
        {},
    ],
    ids=str,
)
def test_what_is_not_supported_refuses(folder: Path, rule: dict[str, Any]) -> None:
    found = policy(folder, containers(rule, {"type": "insecureAcceptAnything"}, default="reject"))
    assert verdict(found, "r.io/team/app") == "refused"
    assert verdict(policy(folder, containers()), "r.io/team/app") == "refused", "an empty list"


@pytest.mark.parametrize(
    ("identity", "image", "name", "matches"),
    [
        (None, "r.io/team/app:1", "r.io/team/app:1", True),
        (None, "r.io/team/app:1", "r.io/team/app:2", False),
        (None, "r.io/team/app:1", "r.io/team/app", False),
        (None, "r.io/team/app:latest", "r.io/team/app", False),
        (None, f"r.io/team/app@sha256:{'0' * 64}", "r.io/team/app:9", True),
        (None, f"r.io/team/app@sha256:{'0' * 64}", "r.io/team/other:9", False),
        ({"type": "matchExact"}, "r.io/team/app:1", "r.io/team/app:1", True),
        ({"type": "matchRepository"}, "r.io/team/app:1", "r.io/team/app", True),
        ({"type": "matchRepository"}, "r.io/team/app:1", "r.io/team/app:3", True),
        ({"type": "matchRepository"}, "r.io/team/app:1", "r.io/team", False),
        ({"type": "matchRepository"}, "r.io/team/app:1", "no name", False),
        (
            {"type": "exactReference", "dockerReference": "up.io/app:1"},
            "r.io/team/app:1",
            "up.io/app:1",
            True,
        ),
        (
            {"type": "exactRepository", "dockerRepository": "up.io/app"},
            "r.io/team/app:1",
            "up.io/app:7",
            True,
        ),
        (
            {"type": "exactRepository", "dockerRepository": "up.io/app"},
            "r.io/team/app:1",
            "r.io/team/app:1",
            False,
        ),
    ],
)
def test_identities_of_containers(
    folder: Path, identity: object, image: str, name: str, matches: bool
) -> None:
    more = {"signedIdentity": identity} if identity else {}
    found = policy(folder, containers(signed_by(folder, **more)))
    (rule,) = requirements([found], Reference.parse(image))
    assert rule.identity is not None
    assert rule.identity(name) is matches


@settings(max_examples=300, deadline=None)
@given(document=documents([OURS, containers({"type": "sigstoreSigned", "keyData": "AA=="})]))
def test_any_document_is_a_policy_or_refused(document: Any) -> None:
    body = json.dumps(document).encode(errors="replace")
    for image in (Reference.parse("r.io/team/app"), Reference.parse("debian"), None):
        with suppress(SignatureError, UsageError):
            requirements([Policy.parse(body, "/nowhere/policy.json")], image)
