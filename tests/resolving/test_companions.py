"""What is attached to an image is saved with it, and found again."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dockersave.archive.read.listing import list_archive
from dockersave.archive.read.verify import check_archive
from dockersave.errors import ContentError, NetworkError, UsageError
from dockersave.limits import LIMITS
from dockersave.model.options import Network, Options
from dockersave.saving.save import save
from dockersave.signatures.policy import Policy
from tests.images import Document, Store, image, index, layer
from tests.images.documents import OCI_INDEX, OCI_MANIFEST
from tests.images.layers import file
from tests.registry.faults import Fault
from tests.registry.real import Registries
from tests.registry.simulator import Auth, Simulator
from tests.saving.from_simulator import PLAIN
from tests.signatures import maker, recorded
from tests.signatures.keyring import public
from tests.signatures.maker import bundle_of, payload, referrer, referrers, signatures, signed

APP = image([layer([file("hello", "hello")], "gzip")], flavor="oci")
ARM = image([layer([file("hello", "arm")], "none")], "linux/arm64", "oci")
BOTH = index([APP, ARM], "oci")
SBOM = "application/spdx+json"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.pem").write_bytes(public(maker.KIND))
    return tmp_path


def saving(reference: str, network: Network = PLAIN, **options: Any) -> dict[str, bytes]:
    """Save; return the members of the archive, by their names."""
    chosen = Options(**{"platform": "linux/amd64", "format": "oci", **options})
    save(reference, output="a.tar", options=chosen, network=network)
    report = check_archive("a.tar")
    assert not report.faults
    assert [each.names for each in report.images] == [(f"{reference}:latest",)]
    assert len(list_archive("a.tar").images) == 1
    with tarfile.open("a.tar") as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def tags(members: dict[str, bytes]) -> list[str]:
    """What `index.json` names, but for the image."""
    entries = json.loads(members["index.json"])["manifests"][1:]
    return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]


def has(members: dict[str, bytes], document: Document) -> bool:
    """Whether a manifest is there, with all that it names."""
    digests = [document.digest, *(blob.digest for blob in document.blobs)]
    return all(f"blobs/{digest.replace(':', '/')}" in members for digest in digests)


def signed_store(document: Document = APP, number: int = 0) -> Store:
    """An image with a signature in each form."""
    store = Store.of({"app": document})
    older = signatures(signed(payload(document.digest), number=number))
    store.add("app", older, maker.tag_of(document, ".sig"))
    store.add("app", referrers(bundle_of(document)), maker.tag_of(document))
    return store


@pytest.mark.parametrize("referring", [True, False], ids=["endpoint", "tag"])
def test_signatures_are_saved(referring: bool) -> None:
    with Simulator(signed_store(), referrers=referring) as registry:
        app = f"{registry.host}/app"
        members = saving(app, with_signatures=True)
        assert tags(members) == [maker.tag_of(APP), maker.tag_of(APP, ".sig")]
        assert has(members, bundle_of(APP))
        before = Path("a.tar").read_bytes()
        saving(app, with_signatures=True)
        assert Path("a.tar").read_bytes() == before
        plain = saving(app)
        assert tags(plain) == []
        as_docker = saving(app, with_signatures=True, format="docker")
        assert tags(as_docker) == [], "engines would take them for images"
        assert has(as_docker, bundle_of(APP))
        assert json.loads(as_docker["manifest.json"]) == json.loads(
            saving(app, format="docker")["manifest.json"]
        )


def test_the_index_of_referrers_says_what_they_are() -> None:
    with Simulator(signed_store()) as registry:
        members = saving(f"{registry.host}/app", with_signatures=True)
        entries = json.loads(members["index.json"])["manifests"]
        listed = json.loads(members[f"blobs/{entries[1]['digest'].replace(':', '/')}"])
        (entry,) = listed["manifests"]
        assert entry["digest"] == bundle_of(APP).digest
        assert entry["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"


def about(document: Document, text: str, kind: str = SBOM) -> Document:
    return referrer(document, text.encode(), kind)


def test_all_that_refers_to_it_is_saved_and_what_refers_to_that() -> None:
    sbom, unrelated = about(APP, "sbom"), about(OTHER, "other")
    of_sbom = about(sbom, "signature of the SBOM")
    store = signed_store()
    listed = referrers(bundle_of(APP), sbom, unrelated)
    store.add("app", listed, maker.tag_of(APP))
    store.add("app", referrers(of_sbom), maker.tag_of(sbom))
    attested = signatures(signed(b"{}"))
    store.add("app", attested, maker.tag_of(APP, ".att"))
    with Simulator(store) as registry:
        members = saving(f"{registry.host}/app", with_referrers=True)
        assert has(members, sbom)
        assert has(members, of_sbom)
        assert has(members, attested)
        assert not has(members, unrelated)
        expected = {maker.tag_of(APP, suffix) for suffix in ("", ".sig", ".att")}
        assert set(tags(members)) == expected | {maker.tag_of(sbom)}
        members = saving(f"{registry.host}/app", with_signatures=True)
        assert not has(members, sbom)
        assert not has(members, attested)


OTHER = image([layer([file("hello", "other")], "none")], flavor="oci")


def test_circles_and_depths_end() -> None:
    store, depth = Store.of({"app": APP}), LIMITS.index_depth + 3
    last: Document = APP
    chain = []
    for number in range(depth):
        now = about(last, str(number))
        store.add("app", referrers(now), maker.tag_of(last))
        chain.append(now)
        last = now
    with Simulator(store) as registry:
        members = saving(f"{registry.host}/app", with_referrers=True)
        assert [has(members, each) for each in chain] == [
            number <= LIMITS.index_depth for number in range(depth)
        ]


def test_too_many_are_refused() -> None:
    many = [about(APP, str(number)) for number in range(6)]
    store = Store.of({"app": APP})
    for each in many:
        store.add("app", each)
    link = f'</v2/app/referrers/{APP.digest}?from=0>; rel="next"'
    with Simulator(store, referrers=True) as registry:
        registry.faults.add(Fault.header("Link", link, on="referrers"))
        with pytest.raises(ContentError, match="never ends"):
            saving(f"{registry.host}/app", with_referrers=True)


def test_what_is_damaged_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    store = signed_store()
    gone = about(APP, "gone")
    store.add("app", referrers(gone, bundle_of(APP)), maker.tag_of(APP))
    del store.repositories["app"].manifests[gone.digest]
    large = signatures(signed(payload(APP.digest, {"x": "x" * LIMITS.signature})))
    store.add("app", large, maker.tag_of(APP, ".sig"))
    lines: list[str] = []
    with Simulator(store) as registry:
        options = Options(with_signatures=True, format="oci")
        app = f"{registry.host}/app"
        save(app, output="a.tar", options=options, network=PLAIN, notify=lines.append)
    assert [line.partition(": ")[2].partition(" is left out")[0] for line in lines] == [
        large.digest,
        gone.digest,
    ]
    assert not check_archive("a.tar").faults


def test_what_has_no_config_is_left_out() -> None:
    store = signed_store()
    older = signatures(signed(payload(APP.digest)))
    del store.repositories["app"].blobs[older.blobs[0].digest]
    lines: list[str] = []
    with Simulator(store) as registry:
        options = Options(with_signatures=True, format="oci")
        app = f"{registry.host}/app"
        save(app, output="a.tar", options=options, network=PLAIN, notify=lines.append)
    assert [line.split()[1] for line in lines[:2]] == [older.digest, bundle_of(APP).digest]
    assert not check_archive("a.tar").faults


def test_they_count_as_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those under tags are kept in memory like all others."""
    store = signed_store()
    body = json.loads(signatures(signed(payload(APP.digest))).manifest)
    text = json.dumps(body | {"annotations": {"x": "x" * 100_000}}).encode()
    large = Document(body["mediaType"], text, signatures(signed(payload(APP.digest))).blobs)
    store.add("app", large, maker.tag_of(APP, ".sig"))
    monkeypatch.setattr(type(LIMITS), "documents", 150_000, raising=False)
    lines: list[str] = []
    with Simulator(store) as registry:
        options = Options(with_signatures=True, format="oci")
        app = f"{registry.host}/app"
        save(app, output="a.tar", options=options, network=PLAIN, notify=lines.append)
    assert ".sig is left out: manifests and configs have more than" in lines[0]


def test_what_a_registry_says_is_shown_without_secrets() -> None:
    """It knows the password, and may write it into what it serves."""
    secret, lines = "not-to-be-shown", list[str]()
    store = signed_store()
    odd = json.dumps({"schemaVersion": 2, "mediaType": secret}).encode()
    store.add("app", Document(OCI_MANIFEST, odd), maker.tag_of(APP, ".sig"))
    network = Network(insecure=True, retries=0, user="u", password=secret)
    with Simulator(store, auth=Auth("basic", "u", secret)) as registry:
        options = Options(with_signatures=True)
        app = f"{registry.host}/app"
        save(app, output="a.tar", options=options, network=network, notify=lines.append)
        assert ".sig is left out: the manifest has the unknown type" in lines[1]
        store.add("app", Document(OCI_INDEX, odd), maker.tag_of(APP))
        with pytest.raises(ContentError, match="the manifest has the unknown type") as caught:
            save(app, output="a.tar", options=options, network=network, notify=lines.append)
    assert secret not in f"{lines} {caught.value} {caught.value.hint}"


def test_that_there_are_none_is_said() -> None:
    lines: list[str] = []
    with Simulator(Store.of({"app": APP})) as registry:
        for name, why in (("signatures", "it is not signed"), ("referrers", "nothing refers")):
            options = Options(**{f"with_{name}": True})  # type: ignore[arg-type]
            app = f"{registry.host}/app"
            save(app, output="a.tar", options=options, network=PLAIN, notify=lines.append)
            assert why in lines[-1]


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_they_are_no_images_to_choose_from(form: str) -> None:
    with Simulator(signed_store()) as registry:
        saving(f"{registry.host}/app", with_signatures=True, format=form)
    chosen = Options(platform="linux/amd64", format="rootfs", from_archive="a.tar", output="b.tar")
    save(options=chosen)
    with tarfile.open("b.tar") as archive:
        assert archive.getnames() == ["hello"]


@pytest.mark.parametrize("form", ["docker", "oci"])
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "all"])
def test_they_are_verified_without_a_network(platform: str, form: str) -> None:
    """Of an index, one platform is saved: the index comes along, because it was signed."""
    with Simulator(signed_store(BOTH)) as registry:
        save(
            f"{registry.host}/app",
            output="a.tar",
            options=Options(platform=platform, format=form, with_signatures=True),
            network=PLAIN,
        )
    report = check_archive("a.tar", policies=[Policy.of_keys(["key.pem"])])
    assert report.is_right
    assert len(report.images[0].signers) == 1
    Path("other.pem").write_bytes(public(maker.KIND, 2))
    report = check_archive("a.tar", policies=[Policy.of_keys(["other.pem"])])
    assert not report.faults
    assert report.failure().exit_code == 8


@pytest.mark.parametrize("name", ["p256-cosign", "p256-bundle", "index-bundle", "index-cosign"])
def test_what_cosign_made_is_verified_without_a_network(name: str) -> None:
    Path("key.pem").write_bytes(recorded.key())
    with Simulator(recorded.store(name)) as registry:
        options = Options(platform="linux/amd64", with_signatures=True)
        save(f"{registry.host}/{name}", output="a.tar", options=options, network=PLAIN)
    assert check_archive("a.tar", policies=[Policy.of_keys(["key.pem"])]).is_right


def test_a_mirror_may_have_them() -> None:
    with Simulator(Store.of({"app": APP})) as registry, Simulator(signed_store()) as mirror:
        network = Network(insecure=True, retries=0, mirrors=(mirror.base_url,))
        members = saving(f"{registry.host}/app", network, with_signatures=True)
        assert len(tags(members)) == 2
    with Simulator(signed_store()) as registry:
        registry.faults.add(Fault.status(500, on="referrers"))
        with pytest.raises(NetworkError):
            saving(f"{registry.host}/app", with_signatures=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"gunzip": True}, "gunzip=True changes the digests"),
        ({"format": "legacy"}, "the legacy format has no place for what with_signatures=True"),
    ],
)
def test_what_cannot_be_combined(options: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        save("x", output="a.tar", options=Options(with_signatures=True, **options))


@pytest.mark.engines
def test_they_are_found_again_after_a_push(registries: Registries, folder: Path) -> None:
    """With skopeo, which needs a tag for each; dockersave finds what it has pushed."""
    registries.push({"signed-upstream": APP})
    for tag, document in (
        (maker.tag_of(APP, ".sig"), signatures(signed(payload(APP.digest)))),
        (maker.tag_of(APP), referrers(bundle_of(APP))),
    ):
        registries.push({"signed-upstream": document}, tag)
    host = registries.get().host
    members = saving(f"{host}/signed-upstream", with_signatures=True)
    target = f"{host}/carried-{folder.name[-1]}"
    for tag in ("latest", *tags(members)):
        source, there = f"oci-archive:a.tar:{tag}", f"docker://{target}:{tag}"
        command = ["skopeo", "copy", "--all", "--dest-tls-verify=false", source, there]
        subprocess.run(command, check=True, capture_output=True)
    chosen = Options(verify_keys=["key.pem"], with_signatures=True, format="oci")
    saved = save(target, output="b.tar", options=chosen, network=PLAIN)
    assert len(saved.images[0].signers) == 1
    assert check_archive("b.tar", policies=[Policy.of_keys(["key.pem"])]).is_right
    with tarfile.open("b.tar") as archive:
        assert members.keys() <= {*archive.getnames(), "index.json"}
