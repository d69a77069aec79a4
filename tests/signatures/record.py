"""Record what cosign and notation make.

    python -m tests.signatures.record COSIGN NOTATION "cosign 3.1.1" > tests/signatures/made.json

It signs small images in a `docker-registry` with keys of every kind, and writes all that the
registry has then. The tests use what is recorded, so they do not change with a suite.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import urllib3

from tests.images import Document, image, index, layer
from tests.images.layers import file
from tests.registry.real import Registries
from tests.signatures.keyring import KINDS, private, public

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
PASSWORD = {"COSIGN_PASSWORD": ""}
SIGN = ("--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "--yes")


def small(platform: str, text: str = "hello") -> Document:
    """An image with one small layer, the same at all times."""
    return image([layer([file("hello", text)], "none")], platform, "oci")


def main(cosign: str, notation: str, made_by: str) -> None:
    """Sign, and write what there is."""
    registries = Registries()
    try:
        names = [f"{_short(kind)}-{form}" for kind in KINDS for form in ("cosign", "bundle")]
        alone = small("linux/amd64")
        both = index([alone, small("linux/arm64", "hello arm")], "oci")
        images = dict.fromkeys((*names, "attested", "notation"), alone)
        images |= dict.fromkeys(("index-cosign", "index-bundle", "inside-bundle"), both)
        registries.push(images)
        registry = registries.get()
        with tempfile.TemporaryDirectory() as folder:
            _sign(cosign, folder, registry.host, images, alone)
            _notation(notation, folder, f"{registry.host}/notation@{alone.digest}")
        made: dict[str, object] = {
            "made_by": made_by,
            "keys": {kind: public(kind).decode() for kind in KINDS},
            "tags": {},
            "manifests": {},
            "blobs": {},
        }
        for name in images:
            _add(made, registry.url, name)
        json.dump(made, sys.stdout, indent=1)
    finally:
        registries.close()


def _short(kind: str) -> str:
    return kind.split()[-1].lower().replace("-", "")


def _sign(
    cosign: str, folder: str, host: str, images: dict[str, Document], alone: Document
) -> None:
    def run(*words: str) -> None:
        done = subprocess.run(
            [cosign, *words], cwd=folder, env=os.environ | PASSWORD, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    for kind in KINDS:
        Path(folder, "pem").write_bytes(private(kind))
        short = _short(kind)
        run("import-key-pair", "--key", "pem", "--output-key-prefix", short, "--yes")
        for form in ("cosign", "bundle"):
            new = f"--new-bundle-format={str(form == 'bundle').lower()}"
            target = f"{host}/{short}-{form}@{images[f'{short}-{form}'].digest}"
            run("sign", *SIGN, new, "--key", f"{short}.key", "-a", "env=prod", target)
    key = ("--key", "p256.key")
    whole = images["index-cosign"].digest
    run("sign", *SIGN, "--new-bundle-format=false", *key, f"{host}/index-cosign@{whole}")
    run("sign", *SIGN, *key, f"{host}/index-bundle@{whole}")
    run("sign", *SIGN, *key, f"{host}/inside-bundle@{alone.digest}")
    Path(folder, "predicate").write_text('{"scanned": true}')
    predicate = ("--predicate", "predicate", "--type", "https://example.com/scan/v1")
    run("attest", *SIGN, *key, *predicate, f"{host}/attested@{alone.digest}")


def _notation(notation: str, folder: str, target: str) -> None:
    env = os.environ | {"HOME": folder, "XDG_CONFIG_HOME": folder}
    for words in (
        ("cert", "generate-test", "--default", "example.com"),
        ("sign", "--insecure-registry", target),
    ):
        done = subprocess.run([notation, *words], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def _add(made: dict[str, Any], url: str, name: str) -> None:
    """Add every tag, manifest and blob of a repository."""
    pool = urllib3.PoolManager(retries=False, headers={"Accept": ACCEPT})

    def get(path: str) -> urllib3.BaseHTTPResponse:
        answer = pool.request("GET", f"{url}/v2/{name}/{path}")
        assert answer.status == 200, answer.data
        return answer

    def keep(manifest: urllib3.BaseHTTPResponse) -> str:
        digest = manifest.headers["Docker-Content-Digest"]
        made["manifests"][digest] = manifest.data.decode()
        document = manifest.json()
        for entry in document.get("manifests", ()):
            keep(get(f"manifests/{entry['digest']}"))
        for entry in (*document.get("layers", ()), *filter(None, [document.get("config")])):
            blob = get(f"blobs/{entry['digest']}").data
            made["blobs"][entry["digest"]] = base64.b64encode(blob).decode()
        return digest

    tags = get("tags/list").json()["tags"]
    made["tags"][name] = {tag: keep(get(f"manifests/{tag}")) for tag in tags}


if __name__ == "__main__":
    main(*sys.argv[1:])
