"""cosign and notation themselves: what they sign now is checked, and they find what was carried."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dockersave.archive.read.verify import check_archive
from dockersave.errors import SignatureError
from dockersave.model.options import Network, Options
from dockersave.saving.save import save
from dockersave.signatures.policy import Policy
from tests.images import image, index, layer
from tests.images.layers import file
from tests.processes import MissingProgramError
from tests.registry.real import Registries
from tests.signatures.keyring import KINDS, private, public
from tests.signatures.record import PASSWORD, SIGN

pytestmark = pytest.mark.signers

PROGRAMS = Path(__file__).parents[2] / "build" / "out" / "signers" / "usr" / "bin"
PLAIN = Network(insecure=True)
ALONE = image([layer([file("hello", "hello")], "gzip")], flavor="oci")
BOTH = index([ALONE, image([layer([file("hello", "arm")])], "linux/arm64", "oci")], "oci")
FORMS = {"cosign": "--new-bundle-format=false", "bundle": "--new-bundle-format=true"}
HASHES = {"ECDSA P-384": "sha384", "ECDSA P-521": "sha512"}
"""What cosign signs with, but must be told when it verifies; the others have sha256."""
UNKNOWN = "Ed25519"
"""Keys of this kind cosign 3.1 signs with, and then does not verify its own signatures."""
SCAN = "https://example.com/scan/v1"


def run(*words: str | Path, fails: bool = False) -> str:
    """Run one of the programs in the working directory; return what it says."""
    program = PROGRAMS / words[0]
    if not program.exists():
        raise MissingProgramError(f"{program} is not there; `make test-engines` fetches it")
    here = {"HOME": os.getcwd(), "XDG_CONFIG_HOME": os.getcwd()}
    done = subprocess.run(
        [program, *words[1:]],
        env=os.environ | PASSWORD | here,
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def target(registries: Registries, request: pytest.FixtureRequest) -> str:
    """The name of a repository with an image in it, and of none with `-carried` behind it."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    registries.push({name: BOTH})
    registries.push({name: ALONE}, "alone")
    return f"{registries.get().host}/{name}"


def key_pair(kind: str, name: str) -> None:
    """Make `NAME.key` and `NAME.pub`, and cosign's own form of the former."""
    Path("pem").write_bytes(private(kind))
    run("cosign", "import-key-pair", "--key", "pem", "--output-key-prefix", name, "--yes")
    Path(f"{name}.pub").write_bytes(public(kind))
    Path("other.pub").write_bytes(public(kind, 1))


def carried(
    target: str, tag: str, digest: str, *, all_at_once: bool = False, **options: object
) -> str:
    """Save it with what is attached to it, and push all of that; return where to.

    Args:
        all_at_once: with oras, which finds what refers to the image; else with skopeo, each with
            its tag.
    """
    chosen = Options(format="oci", output="a.tar", **options)  # type: ignore[arg-type]
    save(f"{target}{tag}", options=chosen, network=PLAIN)
    entries = json.loads(subprocess.check_output(["tar", "-xOf", "a.tar", "index.json"]))
    names = [
        entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries["manifests"]
    ]
    there = f"{target}-carried"
    for name in names[:1] if all_at_once else names:
        if all_at_once:
            words = ("--from-oci-layout", f"a.tar:{name}", f"{there}:{name}")
            run("oras", "cp", "-r", "--to-plain-http", *words)
        else:
            source, at = f"oci-archive:a.tar:{name}", f"docker://{there}:{name}"
            command = ["skopeo", "copy", "--all", "--dest-tls-verify=false", source, at]
            subprocess.run(command, check=True, capture_output=True)
    return f"{there}@{digest}"


def verify(key: str, reference: str, *words: str, fails: bool = False) -> str:
    """Have cosign verify it."""
    usual = ("--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry")
    return run("cosign", "verify", *usual, *words, reference, fails=fails)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cosign_signs_is_checked_and_carried(kind: str, form: str, target: str) -> None:
    key_pair(kind, "ours")
    words = ("--key", "ours.key", "-a", "env=prod")
    run("cosign", "sign", *SIGN, FORMS[form], *words, f"{target}@{ALONE.digest}")
    wanted = Options(verify_keys=["other.pub"], output="none.tar")
    with pytest.raises(SignatureError, match="but not by this key"):
        save(f"{target}:alone", options=wanted, network=PLAIN)
    there = carried(
        target,
        ":alone",
        ALONE.digest,
        with_signatures=True,
        verify_keys=["ours.pub"],
        annotations=["env=prod"],
    )
    assert check_archive("a.tar", policies=[Policy.of_keys(["ours.pub"], {"env": "prod"})]).is_right
    by = ("--signature-digest-algorithm", HASHES.get(kind, "sha256"), "-a")
    for reference in (f"{target}@{ALONE.digest}", there):
        verify("ours.pub", reference, *by, "env=prod", fails=kind == UNKNOWN)
    verify("ours.pub", there, *by, "env=test", fails=True)
    verify("other.pub", there, *by, "env=prod", fails=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signed", ["index", "everything"])
def test_indexes(signed: str, form: str, target: str) -> None:
    key_pair("ECDSA P-256", "ours")
    more = ("--recursive",) if signed == "everything" else ()
    run("cosign", "sign", *SIGN, FORMS[form], *more, "--key", "ours.key", f"{target}@{BOTH.digest}")
    there = carried(
        target, "", BOTH.digest, platform="all", with_signatures=True, verify_keys=["ours.pub"]
    )
    verify("ours.pub", there)
    inside = there.replace(BOTH.digest, ALONE.digest)
    verify("ours.pub", inside, fails=signed == "index")


@pytest.mark.parametrize("all_at_once", [True, False], ids=["oras", "skopeo"])
def test_attestations(all_at_once: bool, target: str) -> None:
    key_pair("ECDSA P-256", "ours")
    Path("predicate").write_text('{"scanned": true}')
    words = ("--key", "ours.key", "--predicate", "predicate", "--type", SCAN)
    run("cosign", "attest", *SIGN, *words, f"{target}@{ALONE.digest}")
    there = carried(target, ":alone", ALONE.digest, all_at_once=all_at_once, with_referrers=True)
    usual = ("--insecure-ignore-tlog=true", "--allow-http-registry", "--type", SCAN)
    run("cosign", "verify-attestation", "--key", "ours.pub", *usual, there)
    run("cosign", "verify-attestation", "--key", "other.pub", *usual, there, fails=True)


def test_notation(target: str) -> None:
    """It is not checked, and that is said; but it is carried."""
    key_pair("ECDSA P-256", "ours")
    run("notation", "cert", "generate-test", "--default", "example.com")
    run("notation", "sign", "--insecure-registry", f"{target}@{ALONE.digest}")
    wanted = Options(verify_keys=["ours.pub"], output="none.tar")
    with pytest.raises(SignatureError, match="signed with notation, which is not checked"):
        save(f"{target}:alone", options=wanted, network=PLAIN)
    # Not with skopeo 1.9, which leaves out of the index what kind of signature it is.
    there = carried(target, ":alone", ALONE.digest, all_at_once=True, with_signatures=True)
    trusting: dict[str, object] = {
        "name": "ours",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:example.com"],
        "trustedIdentities": ["*"],
    }
    policy = {"version": "1.0", "trustPolicies": [trusting]}
    Path("notation/trustpolicy.json").write_text(json.dumps(policy))
    run("notation", "verify", "--insecure-registry", there)
