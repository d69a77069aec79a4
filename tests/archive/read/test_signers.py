"""Signatures in archives: what any engine may load must be signed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive.read.verify import Report, check_archive
from dockersave.errors import SignatureError
from dockersave.limits import LIMITS
from dockersave.model.options import Options
from dockersave.saving.save import save
from dockersave.signatures.policy import Policy
from tests.archive.handmade_tars import Raw, members_of, tar
from tests.cli.command import COMMAND, environment, error_of
from tests.images import Store, image, index, layer
from tests.images.layers import file
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN
from tests.signatures import maker
from tests.signatures.keyring import public

GOOD, EVIL = (image([layer([file("x", text)], "none")], flavor="oci") for text in ("good", "evil"))
BOTH = index([GOOD, image([layer([file("x", "arm")], "none")], "linux/arm64", "oci")], "oci")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.pem").write_bytes(public(maker.KIND))
    return tmp_path


def saved(form: str = "docker", platform: str = "linux/amd64") -> list[Raw]:
    """The members of an archive with a signed image and an unsigned one."""
    store = Store.of({"app": BOTH, "evil": EVIL})
    made = maker.signatures(maker.signed(maker.payload(BOTH.digest)))
    store.add("app", made, maker.tag_of(BOTH, ".sig"))
    with Simulator(store) as registry:
        for name in ("app", "evil"):
            options = Options(platform=platform, format=form, with_signatures=True)
            reference = f"{registry.host}/{name}"
            save(reference, output=f"{name}.tar", options=options, network=PLAIN)
    own = members_of(Path("app.tar"))
    known = {member.path for member in own}
    return [*own, *(each for each in members_of(Path("evil.tar")) if each.path not in known)]


def checked(members: list[Raw]) -> Report:
    Path("a.tar").write_bytes(tar(*members))
    return check_archive("a.tar", policies=[Policy.of_keys(["key.pem"])])


def changed(members: list[Raw], path: str, change: Callable[[Any], Any]) -> list[Raw]:
    """An archive with a document changed."""

    def made(member: Raw) -> Raw:
        if member.path != path:
            return member
        now = change(json.loads(member.data))
        return Raw(path, now if isinstance(now, bytes) else json.dumps(now).encode())

    assert path in [member.path for member in members]
    return [made(member) for member in members]


def of_evil(path: str) -> Any:
    """A document of the unsigned image's archive."""
    return next(json.loads(m.data) for m in members_of(Path("evil.tar")) if m.path == path)


@pytest.mark.parametrize("platform", ["linux/amd64", "all"])
@pytest.mark.parametrize("form", ["docker", "oci"])
def test_a_signed_image(form: str, platform: str) -> None:
    report = checked(saved(form, platform))
    assert report.is_right
    assert len(report.images[0].signers) == 1


def test_an_index_that_names_another_image() -> None:
    members = changed(saved(), "index.json", lambda document: of_evil("index.json"))
    report = checked(members)
    assert not report.faults
    assert not report.images[0].signers
    assert isinstance(report.failure(), SignatureError)
    assert "it is not signed" in str(report.failure())


def test_a_list_for_docker_that_names_another_image() -> None:
    """Docker's classic store reads `manifest.json` alone, and others `index.json`."""
    members = changed(saved(), "manifest.json", lambda document: of_evil("manifest.json"))
    report = checked(members)
    assert not report.faults
    assert report.images[0].signers, "of the one in index.json"
    assert not report.is_right
    both = changed(saved(), "manifest.json", lambda document: document + of_evil("manifest.json"))
    assert not checked(both).is_right


def test_a_second_image() -> None:
    def add(document: Any) -> Any:
        return document | {"manifests": document["manifests"] + of_evil("index.json")["manifests"]}

    report = checked(changed(saved(), "index.json", add))
    assert [bool(each.signers) for each in report.images] == [True, False]
    assert len(report.unsigned) == 1


@pytest.mark.parametrize("name", ["manifests", "Manifests", "MANIFESTS", "manife\u017fts"])
def test_a_list_that_readers_read_differently(name: str) -> None:
    """Go ignores the case of names, and takes the last of two; Python does neither."""

    def twice(document: Any) -> bytes:
        text, more = json.dumps(document), json.dumps(of_evil("index.json")["manifests"])
        return f'{text[:-1]}, "{name}": {more}}}'.encode()

    report = checked(changed(saved(), "index.json", twice))
    assert not report.is_right
    assert "it names a member twice" in str(report.failure())


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("manifest.json", "RepoTags", "repoTags"),
        ("index.json", "annotations", "Annotations"),
        ("index.json", "annotations", "annotation\u017f"),
    ],
)
def test_names_that_only_some_readers_see(path: str, old: str, new: str) -> None:
    """A policy goes by names: those that Go reads must not be missed."""
    members = saved()
    host = checked(members).images[0].names[0].partition("/")[0]
    images = {f"{host}/app": {"keys": ["key.pem"]}}
    policy = {"default": "accept", "images": images, "archives": "accept"}

    def hide(document: Any) -> Any:
        (entry, *_) = document["manifests"] if path == "index.json" else document
        entry[new] = entry.pop(old)
        return document

    evil = members_of(Path("evil.tar"))
    Path("a.tar").write_bytes(tar(*evil))
    policies = [Policy.parse(json.dumps(policy).encode(), "policy.json")]
    assert check_archive("a.tar", policies=policies).is_right, "it has another name"
    Path("a.tar").write_bytes(tar(*changed(evil, path, hide)))
    report = check_archive("a.tar", policies=policies)
    assert "which only some readers know" in str(report.failure())


def test_images_that_only_docker_names() -> None:
    """They are listed by their configs, and signed by their manifests."""

    def unname(document: Any) -> Any:
        for entry in document["manifests"][:1]:
            del entry["annotations"]
        return document

    report = checked(changed(saved(), "index.json", unname))
    assert report.is_right
    assert [len(each.signers) for each in report.images] == [1, 1]


def test_an_archive_with_thousands_of_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read once, and then only for the images that it is about."""
    store, count = Store(), 8
    for number in range(count):
        made = image([layer([file("x", str(number))], "none")], flavor="oci")
        store.add("app", made, str(number))
        many = [maker.signed(maker.payload(made.digest), number=1)] * 3
        good = maker.signed(maker.payload(made.digest, {"n": number}))
        store.add("app", maker.signatures(*many, good), maker.tag_of(made, ".sig"))
    with Simulator(store) as registry:
        save(
            *(f"{registry.host}/app:{number}" for number in range(count)),
            output="a.tar",
            options=Options(with_signatures=True),
            network=PLAIN,
        )
    monkeypatch.setattr(type(LIMITS), "signatures", 4, raising=False)
    report = check_archive("a.tar", policies=[Policy.of_keys(["key.pem"])])
    assert report.is_right
    assert all(len(each.signers) == 1 for each in report.images)
    monkeypatch.setattr(type(LIMITS), "signatures", 1, raising=False)
    report = check_archive("a.tar", policies=[Policy.of_keys(["key.pem"])])
    assert "1 by other keys, 1 not looked at" in str(report.failure())


def test_a_manifest_in_place_of_a_signed_one() -> None:
    """Its name is a digest that was signed, and its content is not."""
    path = f"blobs/{GOOD.digest.replace(':', '/')}"
    members = changed(saved(), path, lambda document: EVIL.manifest)
    report = checked(changed(members, "manifest.json", lambda document: of_evil("manifest.json")))
    assert f"{path}: hashes to {EVIL.digest}" in map(str, report.faults)
    assert [each.message for each in report.unsigned] == ["it is not signed"]


def test_layers_of_another_image() -> None:
    def exchange(document: Any) -> Any:
        return [document[0] | {"Layers": of_evil("manifest.json")[0]["Layers"]}]

    report = checked(changed(saved(), "manifest.json", exchange))
    assert report.faults, "they do not unpack to what the config says"


def test_an_image_in_the_old_format() -> None:
    v1_id = "0" * 64
    old = [
        Raw(f"{v1_id}/json", json.dumps({"id": v1_id}).encode()),
        Raw(f"{v1_id}/VERSION", b"1.0"),
        Raw(f"{v1_id}/layer.tar", b""),
    ]
    members = changed(saved(), "repositories", lambda document: {"app": {"latest": v1_id}})
    report = checked([*members, *old])
    assert "it has an image in Docker's old format" in str(report.unsigned)


def test_a_signature_whose_payload_was_exchanged() -> None:
    members = saved()
    payload = maker.payload(BOTH.digest)
    (number,) = [n for n, member in enumerate(members) if member.data == payload]
    members[number] = Raw(members[number].path, maker.payload(EVIL.digest))
    report = checked(members)
    assert report.faults
    assert not report.images[0].signers


def test_what_is_named_like_an_attachment_but_is_an_image() -> None:
    """Its tag is a digest: no engine gives it another name, so nobody takes it for the other."""

    def hide(document: Any) -> Any:
        (entry,) = of_evil("index.json")["manifests"]
        entry["annotations"] = {"org.opencontainers.image.ref.name": maker.tag_of(EVIL)}
        return document | {"manifests": [entry]}

    report = checked(changed(saved("oci"), "index.json", hide))
    assert "the archive lists no image" in str(report.faults)

    def hide_with_a_name(document: Any) -> Any:
        (entry,) = of_evil("index.json")["manifests"]
        entry["annotations"]["org.opencontainers.image.ref.name"] = maker.tag_of(EVIL)
        return document | {"manifests": [*document["manifests"], entry]}

    assert not checked(changed(saved("oci"), "index.json", hide_with_a_name)).is_right


def test_policies_go_by_all_names(folder: Path) -> None:
    members = saved()
    names = checked(members).images[0].names
    host = names[0].partition("/")[0]
    rules = {f"{host}/app": {"keys": ["key.pem"]}}
    policy = folder / "policy.json"
    policy.write_text(json.dumps({"default": "refuse", "images": rules}))
    assert check_archive("a.tar", policies=[Policy.read(policy)]).is_right
    policy.write_text(json.dumps({"default": "accept", "images": {f"{host}/app": "refuse"}}))
    report = check_archive("a.tar", policies=[Policy.read(policy)])
    assert "does not allow it" in str(report.failure())


def test_policies_go_by_names_for_other_readers() -> None:
    """Skopeo goes by the name that containerd does not look at if there is one of its own."""
    members = saved("oci")
    host = checked(members).images[0].names[0].partition("/")[0]
    rules = {f"{host}/app": {"keys": ["key.pem"]}}
    document = {"default": "accept", "images": rules, "archives": "accept"}
    policy = Policy.parse(json.dumps(document).encode(), "p.json")

    def name(document: Any) -> Any:
        (entry,) = document["manifests"]
        entry["annotations"]["org.opencontainers.image.ref.name"] = f"{host}/app:latest"
        return document

    evil = members_of(Path("evil.tar"))
    for archive, is_right in ((evil, True), (changed(evil, "index.json", name), False)):
        Path("a.tar").write_bytes(tar(*archive))
        assert check_archive("a.tar", policies=[policy]).is_right is is_right


@pytest.mark.parametrize(
    ("archives", "is_right"),
    [(None, False), ("refuse", False), ({"keys": ["key.pem"]}, False), ("accept", True)],
)
def test_a_name_excuses_from_nothing(archives: object, *, is_right: bool) -> None:
    """Anybody can call an archive what a policy accepts."""
    saved()
    evil = members_of(Path("evil.tar"))
    (image,) = checked(evil).images
    accepted = image.names[0].rpartition(":")[0]
    document = {"default": "refuse", "images": {accepted: "accept"}, "archives": archives}
    if archives is None:
        del document["archives"]
    policy = Policy.parse(json.dumps(document).encode(), "p.json")
    assert check_archive("evil.tar", policies=[policy]).is_right is is_right


def test_the_command(folder: Path) -> None:
    saved()
    (folder / "other.pem").write_bytes(public(maker.KIND, 1))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *words]
        env = environment(folder)
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder)

    done = run("--verify", "app.tar", "--verify-key", "key.pem")
    assert done.returncode == 0
    assert ", signed with sha256:" in done.stderr
    error = run("--verify", "app.tar", "--verify-key", "other.pem")
    assert error.returncode == 8
    assert "it is signed, but not by this key" in error.stderr
    assert "was it signed with another key, or by somebody else?" in error.stderr
    (folder / "policy.json").write_text('{"default": "refuse"}')
    error = run("--verify", "app.tar", "--policy", "policy.json")
    assert "policy.json does not allow it\n  ask whoever wrote it; --policy" in error.stderr
    error = run("--verify", "evil.tar", "--verify-key", "key.pem")
    assert "it is not signed\n  an archive has signatures only if" in error.stderr
    assert "--with-signatures" in error.stderr
    done = run("--verify", "evil.tar", "--verify-key", "key.pem", "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    (event,) = [event for event in events if event["event"] == "checked"]
    (unsigned,) = event["unsigned"]
    assert unsigned.keys() == {"member", "message", "hint"}
    assert unsigned["message"] == "it is not signed"
    assert "only if it was saved with --with-signatures" in unsigned["hint"]
    assert event["images"][0]["signers"] == []
    error_of(run("--list", "app.tar", "--verify-key", "key.pem"), 2)
