"""A device takes a file system from an archive only if the archive proves who signed the image."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dockersave.errors import SignatureError, UsageError
from dockersave.model.options import Network, Options
from dockersave.saving import resolve
from dockersave.saving.save import Saved, save
from dockersave.signatures import policy as module_of_policies
from dockersave.signatures.keys import PublicKey
from tests.cli.command import COMMAND, environment, error_of
from tests.images import Document, Store, image, index, layer
from tests.images.layers import file
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN, names_in
from tests.signatures import maker
from tests.signatures.keyring import public
from tests.signatures.maker import bundle_of, payload, referrers, signatures, signed

APP = image([layer([file("v", "app")], "gzip")], flavor="oci")
ARM = image([layer([file("v", "arm")], "gzip")], "linux/arm64", "oci")
BOTH = index([APP, ARM], "oci")
NOWHERE = Network(retries=0, timeout=0.001)
NAME = "r.io/app"
"""What the older form says that it signed (`maker.payload`)."""
SIGNED: dict[str, list[tuple[str, Document]]] = {
    "older": [(maker.tag_of(APP, ".sig"), signatures(signed(payload(APP.digest, {"n": "1"}))))],
    "bundle": [(maker.tag_of(APP), referrers(bundle_of(APP, notes={"n": "1"})))],
    "index": [(maker.tag_of(BOTH), referrers(bundle_of(BOTH, notes={"n": "1"})))],
    "not": [],
}
FORMS = [form for form in SIGNED if form != "not"]


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with keys, beside the working directory."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "srv").mkdir()
    monkeypatch.chdir(tmp_path / "srv")
    for number, name in enumerate(("key.pem", "other.pem")):
        (tmp_path / "etc" / name).write_bytes(public(maker.KIND, number))
    return tmp_path / "etc"


def carried(form: str, *, layout: str = "docker", with_signatures: bool = True) -> None:
    """Save an image to `a.tar`, with what it was signed with."""
    store = Store.of({"app": BOTH if form == "index" else APP})
    for tag, document in SIGNED[form]:
        store.add("app", document, tag)
    options = Options(format=layout, with_signatures=with_signatures, platform="linux/amd64")
    with Simulator(store) as registry:
        save(f"{registry.host}/app", output="a.tar", options=options, network=PLAIN)


def unpacked(**options: Any) -> Saved:
    """Take the file system out of it."""
    chosen = Options(format="rootfs", from_archive="a.tar", output="root.tar", **options)
    return save(options=chosen, network=NOWHERE)


def refused(**options: Any) -> SignatureError:
    """Do not take it; leave nothing behind."""
    with pytest.raises(SignatureError) as caught:
        unpacked(**options)
    assert names_in(Path()) == ["a.tar"]
    return caught.value


def has_policy(keys: Path, monkeypatch: pytest.MonkeyPatch, **document: Any) -> None:
    """Give the host a policy."""
    (keys / "policy.json").write_text(json.dumps(document))
    for module in (resolve, module_of_policies):
        monkeypatch.setattr(module, "HOST_POLICY", str(keys / "policy.json"))


@pytest.mark.parametrize("layout", ["docker", "oci"])
@pytest.mark.parametrize("form", FORMS)
def test_the_hosts_policy_holds_for_archives(
    form: str, layout: str, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried(form, layout=layout)
    needed = {"keys": ["key.pem"], "annotations": {"n": "1"}}
    has_policy(keys, monkeypatch, default="refuse", archives=needed)
    (saved,) = unpacked().images
    assert saved.signers == (PublicKey.of_pem(public(maker.KIND), "key").fingerprint,)
    Path("root.tar").unlink()
    has_policy(keys, monkeypatch, default="accept", archives={"keys": ["other.pem"]})
    assert refused().message == "it is signed, but not by this key"
    carried(form, layout=layout, with_signatures=False)
    error = refused()
    assert error.message == "it is not signed"
    assert "only if it was saved with with_signatures=True" in error.hint


def test_a_key_that_is_missing_stops_what_needs_it(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_policy(keys, monkeypatch, default="accept", archives={"keys": ["gone.pem"]})
    carried("older", layout="oci")
    with pytest.raises(UsageError, match=r"the key .*/gone.pem cannot be read: No such file"):
        unpacked()
    assert names_in(Path()) == ["a.tar"]


def test_a_name_in_an_archive_proves_nothing(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it chose the name: one that the policy accepts, if that were enough."""
    carried("not", with_signatures=False)
    with tarfile.open("a.tar") as archive:
        entries = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    name = entries[0]["RepoTags"][0].partition(":latest")[0]
    has_policy(keys, monkeypatch, default="refuse", images={name: "accept"})
    error = refused()
    assert error.message.endswith("would say whose signatures they need")
    assert error.subject.startswith(name)
    has_policy(keys, monkeypatch, default="accept", images={name: {"keys": ["key.pem"]}})
    assert refused().message.endswith("would say whose signatures they need")
    for allowing in ({"default": "accept"}, {"default": "refuse", "archives": "accept"}):
        has_policy(keys, monkeypatch, **allowing)
        assert unpacked().paths
        Path("root.tar").unlink()


def test_keys_and_policies_that_are_named(keys: Path) -> None:
    carried("older")
    key, other = str(keys / "key.pem"), str(keys / "other.pem")
    assert unpacked(verify_keys=[other, key], annotations=["n=1"]).images[0].signers
    Path("root.tar").unlink()
    assert "annotation n=2" in refused(verify_keys=[key], annotations=["n=2"]).message
    (keys / "p.json").write_text(json.dumps({"default": "refuse", "archives": {"keys": [other]}}))
    assert "not by this key" in refused(verify_keys=[key], policy=keys / "p.json").message


def by_containers(keys: Path, identity: Any, scope: str = "", **rule: Any) -> dict[str, Any]:
    """A policy in the form of containers, for archives."""
    needed = {"type": "sigstoreSigned", "keyPath": str(keys / "key.pem")} | rule
    if identity:
        needed["signedIdentity"] = identity
    rules = {"docker": {"": [{"type": "reject"}]}, "oci-archive": {scope: [needed]}}
    return {"default": [{"type": "insecureAcceptAnything"}], "transports": rules}


@pytest.mark.parametrize(
    ("identity", "scope", "why"),
    [
        ({"type": "exactRepository", "dockerRepository": NAME}, "", None),
        ({"type": "exactReference", "dockerReference": f"{NAME}:1"}, "", "is for another name"),
        ({"type": "exactRepository", "dockerRepository": "r.io/b"}, "", "is for another name"),
        (None, "", "a signedIdentity that is not supported"),
        ({"type": "matchRepository"}, "", "a signedIdentity that is not supported"),
        (None, "/media", "has rules for some archives, by their paths"),
    ],
    ids=str,
)
def test_policies_of_containers(
    identity: Any, scope: str, why: str | None, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried("older")
    has_policy(keys, monkeypatch, **by_containers(keys, identity, scope))
    if why:
        assert why in refused().message
    else:
        assert unpacked().images[0].signers
    has_policy(keys, monkeypatch, default=[{"type": "insecureAcceptAnything"}])
    assert unpacked().images[0].signers == ()
    Path("root.tar").unlink()
    has_policy(keys, monkeypatch, default=[{"type": "reject"}])
    assert "does not allow it" in refused().message


def test_a_signature_is_what_its_name_says(keys: Path) -> None:
    """Names of files in an archive are not trusted, not even those that are digests."""
    theirs = payload(ARM.digest)
    store = Store.of({"app": APP})
    for tag, document in [(maker.tag_of(APP, ".sig"), signatures(signed(theirs)))]:
        store.add("app", document, tag)
    with Simulator(store) as registry:
        options = Options(with_signatures=True, platform="linux/amd64")
        save(f"{registry.host}/app", output="a.tar", options=options, network=PLAIN)
    key = str(keys / "key.pem")
    assert refused(verify_keys=[key]).message == "it is not signed"
    whole = Path("a.tar").read_bytes()
    # The signature stays that of the other payload, whose name the file keeps.
    Path("a.tar").write_bytes(whole.replace(theirs, payload(APP.digest)))
    assert "it is not what its name says" in refused(verify_keys=[key]).message


def test_an_archive_without_manifests_has_no_signatures(keys: Path) -> None:
    carried("older")
    with tarfile.open("a.tar") as old, tarfile.open("b.tar", "w") as new:
        for member in old:
            if member.name not in ("index.json", "oci-layout"):
                new.addfile(member, old.extractfile(member))
    Path("b.tar").rename("a.tar")
    assert refused(verify_keys=[str(keys / "key.pem")]).message == "it is not signed"


def test_the_command(keys: Path) -> None:
    carried("bundle")
    command = [*COMMAND, "--format", "rootfs", "--from", "a.tar", "-o", "root.tar"]

    def run(name: str) -> subprocess.CompletedProcess[str]:
        words = [*command, "--verify-key", str(keys / name)]
        return subprocess.run(words, capture_output=True, text=True, env=environment(keys))

    done = run("key.pem")
    assert done.returncode == 0, done.stderr
    assert "signed with sha256:" in done.stderr
    Path("root.tar").unlink()
    assert "it is signed, but not by this key" in error_of(run("other.pem"), 8)
    assert names_in(Path()) == ["a.tar"]
