"""One `FileSystem` that threads share, and children that are forked meanwhile."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dockersave.rootfs.merge import Tree
from tests.dying import in_child
from tests.rootfs.layers import file
from tests.saving.test_file_system import of, read


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)


def test_threads_can_share_it() -> None:
    names = [f"d/{number}" for number in range(200)]
    failed: list[str] = []
    with of([file(name, name * 50) for name in names]) as files:

        def work(seed: int) -> None:
            for name in Random(seed).sample(names, len(names)):
                if read(files, name) != (name * 50).encode():
                    failed.append(name)
            if list(files)[1:] != sorted(names):
                failed.append("list")

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed


def test_a_child_that_is_forked_while_a_thread_reads_can_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside, forks, whole = threading.Event(), threading.Event(), Tree.find

    def slow(self: Tree, *arguments: Any, **more: Any) -> Any:
        inside.set()
        # The fork itself waits for this one, which shows that it is about to be made.
        assert forks.wait(60)
        time.sleep(0.05)
        return whole(self, *arguments, **more)

    def reads() -> None:
        assert read(files, "a") == b"1"
        assert list(files) == ["a"]

    with of([file("a", "1")]) as files:
        # What is registered last is called first.
        os.register_at_fork(before=forks.set)
        with monkeypatch.context() as patch:
            patch.setattr(Tree, "find", slow)
            thread = threading.Thread(target=files.stat, args=("a",))
            thread.start()
            assert inside.wait(60)
            assert in_child(reads) == 0
            thread.join(60)
        assert read(files, "a") == b"1"
