"""Lock files: a fleet saves the same bytes, whatever the tags mean by then."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from dockersave.errors import ContentError, NotFoundError, OutputError, UsageError
from dockersave.limits import LIMITS
from dockersave.model.options import Options
from dockersave.saving.lockfile import Lock
from dockersave.saving.save import save
from tests.cli.command import COMMAND, environment, error_of
from tests.fuzz.inputs import documents
from tests.images import Document, Store, image, index, layer
from tests.images.layers import file
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN, names_in


def made(text: str, platform: str = "linux/amd64") -> Document:
    return image([layer([file("v", text)], "none")], platform, "oci")


def both(text: str) -> Document:
    return index([made(text), made(text, "linux/arm64")], "oci")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saving(*images: str, output: str = "a.tar", **options: Any) -> bytes:
    """Save; return the archive."""
    save(*images, output=output, options=Options(**options), network=PLAIN)
    return Path(output).read_bytes()


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "all"])
@pytest.mark.parametrize("gunzip", [False, True])
def test_a_fleet_saves_the_same(platform: str, gunzip: bool) -> None:
    store = Store.of({"app": both("1"), "lone": made("1")})
    with Simulator(store) as registry:
        app, lone = f"{registry.host}/app", f"{registry.host}/lone:latest"
        images = [app] if platform == "linux/arm64" else [app, lone]
        first = saving(*images, platform=platform, gunzip=gunzip, lock="images.lock")
        store.add("app", both("2"), "latest")
        store.add("lone", made("2"), "latest")
        assert saving(app, output="b.tar", platform=platform, gunzip=gunzip) != first
        assert saving(output="c.tar", locked="images.lock", gunzip=gunzip) == first
        entries = json.loads(Path("images.lock").read_bytes())["images"]
        assert entries[0]["reference"] == f"{app}:latest"
        assert entries[0]["digest"] == both("1").digest
        assert entries[0]["platform"] == platform
        assert (entries[0]["image"] == entries[0]["digest"]) is (platform == "all")


def test_what_it_says(folder: Path) -> None:
    app = made("1")
    with Simulator(Store.of({"app": app})) as registry:
        saving(f"{registry.host}/app", lock=folder / "lock")
        saved = json.loads(Path("lock").read_bytes())
        (one,) = json.loads(app.manifest)["layers"]
        assert saved == {
            "version": 1,
            "images": [
                {
                    "reference": f"{registry.host}/app:latest",
                    "digest": app.digest,
                    "platform": "linux/amd64",
                    "image": app.digest,
                    "size": one["size"],
                    "signers": [],
                }
            ],
        }
        assert names_in(folder) == ["a.tar", "lock"]
        before = Path("lock").stat().st_ino
        saving(f"{registry.host}/app", lock="lock")
        assert Path("lock").stat().st_ino != before, "it is written anew, as a whole"


def test_some_of_them_can_be_named() -> None:
    with Simulator(Store.of({"a": made("1"), "b": made("2")})) as registry:
        one, two = f"{registry.host}/a", f"{registry.host}/b"
        saving(one, two, lock="lock")
        alone = saving(two, output="b.tar")
        assert saving(two, output="c.tar", locked="lock") == alone
        with pytest.raises(UsageError, match="/c:latest is not in the lock file"):
            saving(f"{registry.host}/c", locked="lock")


def test_what_is_gone_is_not_replaced_by_something_else(folder: Path) -> None:
    store = Store.of({"app": made("1")})
    with Simulator(store) as registry:
        saving(f"{registry.host}/app", lock="lock")
        store.add("app", made("2"), "latest")
        del store.repositories["app"].manifests[made("1").digest]
        with pytest.raises(NotFoundError):
            saving(output="b.tar", locked="lock")
        changed = Path("lock").read_text().replace(made("1").digest, made("2").digest, 1)
        Path("lock").write_text(changed)
        with pytest.raises(ContentError, match="the lock file says"):
            saving(output="b.tar", locked="lock")
    assert "b.tar" not in names_in(folder)


def test_it_is_written_only_if_all_went_well(folder: Path) -> None:
    with Simulator(Store.of({"app": made("1")})) as registry:
        app = f"{registry.host}/app"
        with pytest.raises(NotFoundError):
            saving(app, f"{registry.host}/none", lock="lock")
        for path in ("none/lock", "a.tar", "folder"):
            os.makedirs("folder", exist_ok=True)
            with pytest.raises(OutputError) as caught:
                saving(app, lock=path)
            assert path != "none/lock" or "another with lock=" in caught.value.hint
        assert not registry.of("blob"), "it was found out before"
    assert names_in(folder) == ["folder"]


GOOD = {
    "version": 1,
    "images": [
        {
            "reference": "r.io/app:1",
            "digest": made("1").digest,
            "platform": "linux/amd64",
            "image": made("1").digest,
            "size": 3,
            "signers": [],
        }
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "images": [GOOD["images"][0] | changes]}  # type: ignore[index]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"version": 2, "images": GOOD["images"]},
        {"version": 1, "images": []},
        changed(digest="sha256:0"),
        changed(image=None),
        changed(platform="a/b/c/d"),
        changed(platform=1),
        changed(reference="R.io/"),
        changed(reference=f"r.io/app:1@{made('2').digest}"),
        changed(signers=3),
        changed(size="3"),
        {"version": 1, "images": [*GOOD["images"], *GOOD["images"]]},  # type: ignore[misc]
    ],
)
def test_what_is_no_lock_file(document: Any) -> None:
    Path("lock").write_text(json.dumps(GOOD))
    (reference,) = Lock.read("lock").references([])
    assert str(reference) == f"r.io/app:1@{made('1').digest}"
    Path("lock").write_text(json.dumps(document))
    with pytest.raises(UsageError) as caught:
        saving(locked="lock")
    assert caught.value.message.startswith("the lock file lock ")
    with pytest.raises(UsageError, match="cannot be read"):
        saving(locked="nowhere")


def test_what_is_written_twice_is_no_lock_file() -> None:
    """People see the first, and parsers take the last."""
    text = json.dumps(GOOD)
    Path("lock").write_text(text.replace('"image"', f'"image": "{made("2").digest}", "image"'))
    with pytest.raises(UsageError, match="is not one that this version understands"):
        saving(locked="lock")
    many = [GOOD["images"][0] | {"reference": f"r.io/app:{n}"} for n in range(LIMITS.references)]  # type: ignore[index]
    Path("lock").write_text(json.dumps({"version": 1, "images": many}, indent=1))
    assert len(Lock.read("lock").references([])) == LIMITS.references


def test_two_references_of_one_image() -> None:
    with Simulator(Store.of({"app": made("1")})) as registry:
        app = f"{registry.host}/app:latest"
        both = (app, f"{app}@{made('1').digest}")
        first = saving(*both, lock="lock")
        assert saving(output="b.tar", locked="lock") == first
        assert saving(*both, output="c.tar", locked="lock") == first
        assert saving(app, output="d.tar", locked="lock") == first


@settings(max_examples=200, deadline=None)
@given(documents([GOOD]))
def test_any_document_is_one_or_refused(document: Any) -> None:
    Path("fuzzed").write_text(json.dumps(document))
    with suppress(UsageError):
        assert Lock.read("fuzzed").references([])


def test_the_command(folder: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "--insecure", *words]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=environment(folder)
        )

    with Simulator(Store.of({"app": made("1")})) as registry:
        app = f"{registry.host}/app"
        assert run(app, "--lock", "lock", "-o", "a.tar").returncode == 0
        assert run("--locked", "lock", "-o", "b.tar").returncode == 0
        assert run("--locked", "lock").returncode == 0
        assert names_in(folder) == ["a.tar", "app-latest.tar", "b.tar", "lock"]
        both_name_it = error_of(run("--locked", "lock", "--arch", "arm64"), 2)
        assert "--arch and --locked both name the platform" in both_name_it
        assert "nothing is written" in error_of(run(app, "--lock", "lock", "--dry-run"), 2)
    with pytest.raises(UsageError, match="platform= has no effect"):
        saving(locked="lock", platform="linux/arm64")
