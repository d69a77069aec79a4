"""What becomes of a blob's bytes."""

from __future__ import annotations

import pytest

from dockersave.errors import ContentError
from dockersave.model.digest import Buffer
from dockersave.transfer.blobs import Blob
from dockersave.transfer.cache import Entry
from dockersave.transfer.download import BlobDownload
from dockersave.transfer.run_cache import CacheWriter
from tests.transfer.fake_sources import BODY, Line, Memory, at_work, blob_of

HALF = len(BODY) // 2


class Kept(Entry):
    """What would be in the cache."""

    def __init__(self) -> None:
        self.place = Memory()
        self.ends: list[str] = []

    def write(self, position: int, data: Buffer) -> None:
        self.place.write(position, data)

    def commit(self) -> None:
        self.ends.append("commit")

    def close(self) -> None:
        self.ends.append("close")


def test_it_is_put_into_its_place_hashed_and_kept() -> None:
    kept, place = Kept(), Memory()
    place.body[:HALF] = BODY[:HALF]
    have = [(0, HALF)]
    download = BlobDownload(blob_of(Line(), have=have), place, CacheWriter(lambda: kept, have))
    download.write(HALF, BODY[HALF:])
    assert place.recorded == [(HALF, len(BODY))]
    assert download.read(HALF - 5, 10) == BODY[HALF - 5 : HALF + 5]
    for start in (0, HALF):
        download.hash(BODY[start : start + HALF])
    assert kept.ends == []
    download.judge()
    download.close()
    assert kept.place.body == place.body == BODY, "also what was there already is kept"
    assert kept.ends == ["commit", "close"]


@pytest.mark.parametrize("body", [bytes(len(BODY)), BODY[:-1], BODY[:5]])
def test_what_is_wrong_is_not_kept(body: bytes) -> None:
    kept = Kept()
    download = BlobDownload(blob_of(Line()), Memory(), CacheWriter(lambda: kept))
    download.write(0, body)
    download.hash(body)
    with pytest.raises(ContentError, match="instead of"):
        download.judge()
    download.close()
    assert kept.ends == ["close"]


def test_it_begins_again_when_the_ledger_has() -> None:
    blob, place = blob_of(Line()), Memory()
    download = BlobDownload(blob, place)
    download.hash(b"wrong")
    download.renew()
    assert place.forgotten == 0
    blob.epoch += 1
    download.renew()
    download.renew()
    assert place.forgotten == 1
    download.hash(BODY)
    download.judge()


@pytest.mark.parametrize("is_right", [True, False])
def test_what_is_there_can_be_judged_without_any_source(is_right: bool) -> None:
    """How a run finds out that its archive is unchanged."""
    place = Memory()
    place.body[:] = BODY if is_right else bytes(len(BODY))
    blob = Blob(blob_of().digest, len(BODY), [], [(0, len(BODY))])
    with at_work([blob], [BlobDownload(blob, place)]) as (ledger, pool):
        if is_right:
            pool.run(lambda: ledger.is_done, lambda: None)
        else:
            with pytest.raises(ContentError, match="hashes to"):
                pool.run(lambda: ledger.is_done, lambda: None)
    assert blob.done == is_right
