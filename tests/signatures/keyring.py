"""Keys of every kind, and their signatures, made by OpenSSL's command."""

from __future__ import annotations

import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

KINDS = {
    "ECDSA P-256": ("EC", "ec_paramgen_curve:P-256"),
    "ECDSA P-384": ("EC", "ec_paramgen_curve:P-384"),
    "ECDSA P-521": ("EC", "ec_paramgen_curve:P-521"),
    "Ed25519": ("ED25519", ""),
    "RSA 2048": ("RSA", "rsa_keygen_bits:2048"),
}
"""Schemes as `PublicKey.kind` has them, each with OpenSSL's words for it."""


def openssl(*words: str, data: bytes = b"") -> bytes:
    """What the command writes; `data` is its standard input."""
    done = subprocess.run(["openssl", *words], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def private(kind: str, number: int = 0) -> bytes:
    """A private key; another one for each number."""
    return _private(kind, number)


@lru_cache(maxsize=64)
def _private(kind: str, number: int) -> bytes:
    others = ("ED448", "") if kind == "ED448" else ("EC", f"ec_paramgen_curve:{kind}")
    algorithm, option = KINDS.get(kind, others)
    return openssl("genpkey", "-algorithm", algorithm, *(["-pkeyopt", option] if option else []))


@lru_cache(maxsize=64)
def public(kind: str, number: int = 0, *, form: str = "PEM") -> bytes:
    """Its public key, as PEM or DER."""
    return openssl("pkey", "-pubout", "-outform", form, data=private(kind, number))


@lru_cache(maxsize=256)
def sign(kind: str, message: bytes, number: int = 0, digest: str = "sha256") -> bytes:
    """A signature of a message."""
    with tempfile.TemporaryDirectory() as folder:
        key, text = Path(folder, "key"), Path(folder, "text")
        key.write_bytes(private(kind, number))
        text.write_bytes(message)
        if kind == "Ed25519":
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(text))
        return openssl("dgst", f"-{digest}", "-sign", str(key), str(text))


def agrees(kind: str, signature: bytes, message: bytes) -> bool:
    """Whether OpenSSL takes a signature for right; with SHA-256, where there is a choice."""
    with tempfile.TemporaryDirectory() as folder:
        key, text, made = (Path(folder, name) for name in ("key", "text", "signature"))
        key.write_bytes(public(kind))
        text.write_bytes(message)
        made.write_bytes(signature)
        if kind == "Ed25519":
            words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key)]
            words += ["-in", str(text), "-sigfile", str(made)]
        else:
            words = ["dgst", "-sha256", "-verify", str(key), "-signature", str(made), str(text)]
        return subprocess.run(["openssl", *words], capture_output=True).returncode == 0
