"""Tar headers and the plan, read back by the standard library."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockersave.archive.members import Document, Layer
from dockersave.archive.tar import BLOCK, Plan, fixed_parts, lay_out
from dockersave.model.descriptors import Descriptor

NAME = st.text("abcdefghij0123456789._-", min_size=1, max_size=120).filter(
    lambda name: name not in (".", "..")
)
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)
DATA = st.tuples(st.binary(max_size=2000), st.just("")) | st.tuples(st.just(b""), PATH)
DOCUMENTS = st.dictionaries(PATH, DATA, max_size=12).map(
    lambda found: [Document(path, *data) for path, data in found.items()]
)


def bytes_of(plan: Plan) -> bytes:
    """Return a plan that has no blobs as bytes."""
    target = bytearray(plan.size)
    for offset, body in fixed_parts(plan):
        target[offset : offset + len(body)] = body
    return bytes(target)


@given(DOCUMENTS)
def test_the_standard_library_reads_what_was_planned(members: list[Document]) -> None:
    plan = lay_out((), members)
    data = bytes_of(plan)
    assert len(data) == plan.size
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = archive.getmembers()
        assert [info.name for info in found] == [member.path for member in members]
        for info, member, entry in zip(found, members, plan.documents, strict=True):
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
            assert info.offset_data == entry.offset
            if member.target:
                assert info.issym()
                assert info.linkname == member.target
            else:
                file = archive.extractfile(info)
                assert file is not None
                assert file.read() == member.body


@given(DOCUMENTS, st.integers(0, 100))
def test_parts_cover_every_byte_once(members: list[Document], blocks: int) -> None:
    start = blocks * BLOCK
    plan = lay_out((), members, start)
    position = start
    for offset, body in fixed_parts(plan):
        assert offset == position
        position += len(body)
    assert position == plan.size


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 8 * 1024**3 - 1, 8 * 1024**3, 1 << 40])
def test_sizes_of_any_magnitude(size: int) -> None:
    blob = Descriptor("", "sha256:" + "0" * 64, size)
    (entry,) = lay_out([Layer(blob.blob_path, blob, blob, 0)], ()).layers
    assert tarfile.TarInfo.frombuf(entry.header[-512:], "utf-8", "strict").size == size
    assert entry.end % BLOCK == 0
    assert 0 <= entry.end - entry.offset - size < BLOCK


def test_a_sha512_digest_fits_into_a_name() -> None:
    path = "blobs/sha512/" + "0123456789abcdef" * 8
    data = bytes_of(lay_out((), [Document(path, b"x")]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [path]
