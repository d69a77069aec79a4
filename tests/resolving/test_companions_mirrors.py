"""What is attached to an image comes from the registry and its mirrors; none hides another's."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.limits import LIMITS
from dockersave.model.options import Network, Options
from dockersave.saving.save import save
from dockersave.signatures.policy import Policy
from tests.images import Document
from tests.images.documents import OCI_INDEX, encode
from tests.registry.faults import Fault
from tests.registry.simulator import Simulator
from tests.resolving.signed_images import APP, having, listed, older
from tests.signatures import maker
from tests.signatures.keyring import public
from tests.signatures.maker import bundle_of, payload, referrer, referrers, signed

OURS, THEIRS = (older(signed(payload(APP.digest), number=number)) for number in (0, 1))
TAG = OURS[0]


@pytest.fixture
def other(key: str) -> str:
    """A file with the key of `THEIRS`."""
    path = Path(key).with_name("other.pem")
    path.write_bytes(public(maker.KIND, 1))
    return str(path)


def saving(registry: Simulator, mirror: Simulator, *keys: str, digest: str = "") -> dict[str, str]:
    """Save with what is attached; return the digests of what has a tag in the archive."""
    options = Options(with_signatures=True, format="oci", verify_keys=keys, platform="linux/amd64")
    network = Network(insecure=True, retries=0, mirrors=(mirror.base_url,))
    save(f"{registry.host}/app{digest}", output="a.tar", options=options, network=network)
    with tarfile.open("a.tar") as archive:
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    named = "org.opencontainers.image.ref.name"
    return {each["annotations"].get(named): each["digest"] for each in index["manifests"]}


def is_signed_by(key: str) -> bool:
    """Whether the archive itself proves it."""
    return check_archive("a.tar", policies=[Policy.of_keys([key])]).is_right


@pytest.mark.parametrize("ours_is_at", ["registry", "mirror"])
def test_what_proves_what_was_asked_for_has_the_tag(
    ours_is_at: str, folder: Path, key: str, other: str
) -> None:
    at_home, elsewhere = (OURS, THEIRS) if ours_is_at == "registry" else (THEIRS, OURS)
    with having(at_home) as registry, having(elsewhere) as mirror:
        assert saving(registry, mirror, key)[TAG] == OURS[1].digest
        assert is_signed_by(key)
        assert saving(registry, mirror, other)[TAG] == THEIRS[1].digest
        assert is_signed_by(other)


def test_a_mirror_without_any_hides_none(folder: Path, key: str) -> None:
    with having(OURS) as registry, having() as mirror:
        for keys in ((), (key,)):
            assert saving(registry, mirror, *keys)[TAG] == OURS[1].digest
            assert is_signed_by(key)


def test_without_a_key_the_registry_says_what_a_tag_means(
    folder: Path, key: str, other: str
) -> None:
    with having(OURS) as registry, having(THEIRS) as mirror:
        assert saving(registry, mirror)[TAG] == OURS[1].digest
        assert is_signed_by(key)
        assert is_signed_by(other), "it is there without a tag"


def test_one_that_is_damaged_leaves_the_tag_to_the_other(folder: Path, key: str) -> None:
    odd = (TAG, Document(OCI_INDEX, encode({"schemaVersion": 2, "mediaType": "odd"})))
    with having(odd) as registry, having(OURS) as mirror:
        assert saving(registry, mirror)[TAG] == OURS[1].digest
        assert is_signed_by(key)


def test_a_mirror_that_misdescribes_a_bundle_does_not_hide_it(folder: Path, key: str) -> None:
    right = bundle_of(APP)
    entry = right.descriptor() | {"size": len(right.manifest) + 1}
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    wrong = Document(OCI_INDEX, encode(body), children=(right,))
    with having(listed(right)) as registry, having((maker.tag_of(APP), wrong)) as mirror:
        saving(registry, mirror)
        assert is_signed_by(key)


def test_a_mirror_that_lists_too_many_is_skipped(
    folder: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(LIMITS), "referrers", 3, raising=False)
    many = [referrer(APP, b"%d" % number, "text/plain") for number in range(5)]
    with having(listed(bundle_of(APP))) as registry, having(listed(*many)) as mirror:
        saving(registry, mirror)
        assert is_signed_by(key)


def test_a_registry_that_is_down_is_not_asked_again(folder: Path, key: str) -> None:
    everything = [OURS, (maker.tag_of(APP), referrers(bundle_of(APP)))]
    with having() as registry, having(*everything) as mirror:
        registry.faults.add(Fault.status(500))
        assert saving(registry, mirror, digest=f"@{APP.digest}")[TAG] == OURS[1].digest
        assert is_signed_by(key)
        assert len(registry.requests) == 1
