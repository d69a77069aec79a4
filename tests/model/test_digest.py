"""Size and digest: what passes, and what never does."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.errors import ContentError
from dockersave.model.digest import Verifier, check, digest_of, is_digest

# FIPS 180-4 examples, as NIST publishes them.
ABC_256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
ABC_512 = (
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
)


@pytest.mark.parametrize("digest", [ABC_256, ABC_512])
def test_known_digests(digest: str) -> None:
    assert is_digest(digest)
    assert digest_of(b"abc", digest.partition(":")[0]) == digest
    check(b"abc", digest, "it", 3)
    check(bytearray(b"abc"), digest, "it")
    check(memoryview(b"abc"), digest, "it")


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256", "sha256:", ABC_256[:-1], ABC_256 + "0", ABC_256.upper(), ABC_256 + "\n",
        " " + ABC_256, ABC_256.replace("sha256", "SHA256"), ABC_256.replace(":", "-"),
        ABC_256.replace("ba", "BA"), ABC_256.replace("ba", "b٣"), ABC_256.replace("ba", ".."),
        f"sha512:{ABC_256[7:]}", f"sha256:{ABC_512[7:]}", "md5:" + "0" * 32, "sha384:" + "0" * 96,
        "sha256:" + "../" * 21 + "a", None, 1, ABC_256.encode(), [ABC_256],
    ],
)  # fmt: skip
def test_what_is_no_digest(text: object) -> None:
    assert not is_digest(text)


def test_learns_what_nobody_has_said() -> None:
    verifier = Verifier(None, None, "it")
    for part in (b"a", b"", b"bc"):
        verifier.update(part)
    verifier.finish()
    assert (verifier.value, verifier.seen) == (ABC_256, 3)


def test_one_wrong_bit() -> None:
    with pytest.raises(ContentError, match=r"the layer hashes to sha256:.* instead of") as info:
        check(b"abb", ABC_256, "the layer", 3)
    assert info.value.transient
    assert info.value.hint
    assert info.value.exit_code == 6


def test_too_short() -> None:
    with pytest.raises(ContentError, match="the layer has 2 bytes instead of 3") as info:
        check(b"ab", ABC_256, "the layer", 3)
    assert info.value.transient


def test_too_long_is_noticed_at_the_first_byte_too_many() -> None:
    verifier = Verifier(ABC_256, 3, "the layer")
    verifier.update(b"abc")
    with pytest.raises(ContentError, match="the layer is longer than the stated 3 bytes"):
        verifier.update(b"d")


@given(st.lists(st.binary(max_size=200)), st.sampled_from(["sha256", "sha512"]))
def test_the_way_it_is_cut_up_does_not_matter(parts: list[bytes], algorithm: str) -> None:
    whole = b"".join(parts)
    verifier = Verifier(f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}", len(whole), "x")
    for part in parts:
        verifier.update(part)
    verifier.finish()


@given(st.binary(min_size=1, max_size=100), st.data())
def test_no_changed_byte_passes(body: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ContentError):
        check(changed, digest_of(body), "it", len(body))
