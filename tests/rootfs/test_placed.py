"""The files of a directory that was made: which of them are still what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dockersave.rootfs.nodes import LAYER, Entry
from dockersave.rootfs.placed import Placed
from dockersave.rootfs.saved_record import Row
from dockersave.rootfs.walk import Seen
from tests.rootfs.states import LATE, NOTHING, state

WRITTEN, KEPT, PUBLISHED, SETTLED = 10, 20, 30, 40


def placed(*names: tuple[bytes, int, int], is_shared: bool = False) -> Placed:
    """Return files that were placed: their paths, inodes, and when they were changed if kept."""
    made = Placed()
    for path, inode, changed in names:
        place = 3 << LAYER | 512 | ord("0")
        entry = Entry(path, 0, place, b"", lambda: NOTHING, is_shared=is_shared)
        made.add(entry, inode, 0, changed)
    return made


def seeing(*found: Any) -> list[Seen]:
    """Return what is seen: a file a, a file b, and so on."""
    return [Seen(b"%c" % (number + ord("a")), each, b"") for number, each in enumerate(found)]


def rows(made: Placed, *found: Any) -> list[bytes]:
    """Return the paths of those that have rows."""
    return [row.path for row in made.rows(seeing(*found), PUBLISHED, SETTLED)]


def test_other_files_make_no_rows() -> None:
    made = placed((b"a", 5, 0))
    right, wrong = state(5, 6), state(4, 6)
    others = [Seen(b"0", state(4, 6, mode=0o040755), b""), Seen(b"1", None, b"")]
    found = list(made.rows([*others, Seen(b"a", right, b"")], LATE, LATE))
    assert found == [Row(b"a", 3, 512, 5, 6, 0)]
    for seen in ([wrong], [right, right]):
        with pytest.raises(ValueError, match="other files"):
            list(made.rows(seeing(*seen), LATE, LATE))
        with pytest.raises(ValueError, match="other files"):
            made.check(seeing(*seen))


def test_files_where_this_user_cannot_look_have_no_rows() -> None:
    made = placed((b"locked/x", 4, 0), (b"a", 5, KEPT), (b"locked2/x", 6, 0))
    made.check(seeing(state(5, KEPT)))
    assert rows(made, state(5, SETTLED)) == [b"a"]


def test_what_was_written_has_a_row_if_nobody_changed_it_since_it_was_published() -> None:
    made = placed((b"a", 5, 0))
    assert rows(made, state(5, WRITTEN)) == rows(made, state(5, PUBLISHED)) == [b"a"]
    assert rows(made, state(5, PUBLISHED + 1)) == []


def test_what_was_kept_has_a_row_if_only_the_old_directory_was_removed_since() -> None:
    made = placed((b"a", 5, KEPT))
    assert rows(made, state(5, PUBLISHED + 1)) == rows(made, state(5, SETTLED)) == [b"a"]
    assert rows(made, state(5, SETTLED + 1)) == []


def test_what_was_kept_must_be_unchanged_until_then() -> None:
    made = placed((b"a", 5, KEPT), (b"b", 6, 0))
    made.check(seeing(state(5, KEPT), state(6, WRITTEN)))
    # Nobody else can reach what was written, and not all file systems tell its time at once.
    made.check(seeing(state(5, KEPT), state(6, WRITTEN + 1)))
    for changed in (KEPT - 1, KEPT + 1):
        with pytest.raises(ValueError, match="was changed"):
            made.check(seeing(state(5, changed), state(6, WRITTEN)))


def test_names_of_one_file_are_changed_by_each_other() -> None:
    made = placed((b"a", 5, KEPT), (b"b", 5, KEPT + 1), is_shared=True)
    made.check(seeing(*[state(5, KEPT + 1, 2)] * 2))
    assert made.was_kept(state(5, KEPT + 1))
    assert not placed((b"a", 5, 0), is_shared=True).was_kept(state(5, WRITTEN))
    attempts: list[Callable[[], object]] = [
        lambda: made.check(seeing(*[state(5, KEPT, 2)] * 2)),
        lambda: made.was_kept(state(5, KEPT)),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="was changed"):
            attempt()


def test_what_others_have_a_name_of_has_no_row() -> None:
    assert rows(placed((b"a", 5, 0)), state(5, WRITTEN, 2)) == []
    made = placed((b"a", 5, 0), (b"b", 5, 0), is_shared=True)
    assert rows(made, *[state(5, WRITTEN, 2)] * 2) == [b"a", b"b"]
    assert rows(made, *[state(5, WRITTEN, 3)] * 2) == []
