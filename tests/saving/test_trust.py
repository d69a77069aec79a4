"""A device saves what its policy allows, and keeps what it has otherwise."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockersave.cli import main
from dockersave.errors import SaveFailures, SignatureError, UsageError
from dockersave.model.options import Options
from dockersave.saving import resolve
from dockersave.saving.forecast import forecast
from dockersave.saving.save import save
from dockersave.signatures import policy as module_of_policies
from dockersave.signatures.keys import PublicKey
from tests.cli.command import COMMAND, environment, error_of
from tests.images import Document, Store, image, layer
from tests.images.layers import file
from tests.registry.simulator import Simulator
from tests.saving.from_simulator import PLAIN, names_in
from tests.signatures import maker
from tests.signatures.keyring import public

OLD, NEW = (image([layer([file("v", text)], "none")], flavor="oci") for text in ("1", "2"))
KEY = PublicKey.of_pem(public(maker.KIND), "key").fingerprint


def sign(store: Store, document: Document, number: int = 0) -> None:
    """Sign an image."""
    made = maker.signatures(maker.signed(maker.payload(document.digest), number=number))
    store.add("app", made, maker.tag_of(document, ".sig"))


@pytest.fixture
def store() -> Store:
    """A repository `app` with a signed image."""
    made = Store.of({"app": OLD, "free": OLD})
    sign(made, OLD)
    return made


@pytest.fixture
def registry(store: Store) -> Iterator[Simulator]:
    """A registry that serves it."""
    with Simulator(store) as serving:
        yield serving


@pytest.fixture
def policy(registry: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy that asks for signatures of `app`, and refuses everything but `free`."""
    (etc := tmp_path / "etc").mkdir()
    (tmp_path / "srv").mkdir()
    (etc / "key.pem").write_bytes(public(maker.KIND))
    images = {f"{registry.host}/app": {"keys": ["key.pem"]}, f"{registry.host}/free": "accept"}
    (etc / "policy.json").write_text(json.dumps({"default": "refuse", "images": images}))
    monkeypatch.chdir(tmp_path / "srv")
    return etc / "policy.json"


@pytest.fixture
def of_the_host(policy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where a host has its policy."""
    for module in (resolve, module_of_policies):
        monkeypatch.setattr(module, "HOST_POLICY", str(policy))
    return policy


def test_a_device_keeps_yesterdays_archive(
    store: Store, registry: Simulator, of_the_host: Path
) -> None:
    app = f"{registry.host}/app"
    assert save(app, output="app.tar", network=PLAIN).images[0].signers == (KEY,)
    yesterdays = Path("app.tar").read_bytes()
    store.add("app", NEW, "latest")
    for number in (None, 1):
        if number is not None:
            sign(store, NEW, number)
        with pytest.raises(SignatureError) as caught:
            save(app, output="app.tar", network=PLAIN)
        assert caught.value.subject == f"{app}:latest"
        assert Path("app.tar").read_bytes() == yesterdays
        assert names_in(Path()) == ["app.tar"]
    sign(store, NEW)
    assert save(app, output="app.tar", network=PLAIN).images[0].signers == (KEY,)
    assert Path("app.tar").read_bytes() != yesterdays


def test_what_a_policy_refuses_is_not_asked_for(registry: Simulator, of_the_host: Path) -> None:
    with pytest.raises(SignatureError, match="does not allow it"):
        save(f"{registry.host}/other", output="a.tar", network=PLAIN)
    assert not registry.requests
    assert save(f"{registry.host}/free", output="a.tar", network=PLAIN).images[0].signers == ()


def test_a_named_policy_is_used_instead_of_the_hosts(
    registry: Simulator, of_the_host: Path, tmp_path: Path
) -> None:
    (other := tmp_path / "other.json").write_text('{"default": "accept"}')
    options = Options(policy=str(other))
    assert save(f"{registry.host}/app", output="a.tar", options=options, network=PLAIN).paths
    with pytest.raises(UsageError, match="cannot be read"):
        save("x", output="a.tar", options=Options(policy="none.json"), network=PLAIN)


def test_a_policy_of_the_host_that_is_broken_refuses(
    registry: Simulator, of_the_host: Path
) -> None:
    of_the_host.chmod(0o666)
    with pytest.raises(UsageError, match="can be changed by everybody"):
        save(f"{registry.host}/free", output="a.tar", network=PLAIN)
    of_the_host.unlink()
    of_the_host.symlink_to("nowhere")
    with pytest.raises(UsageError, match="cannot be read"):
        save(f"{registry.host}/free", output="a.tar", network=PLAIN)


def test_a_policy_of_the_host_that_cannot_be_seen_refuses(
    registry: Simulator, of_the_host: Path
) -> None:
    """Whether it is there cannot be told, so nobody may do without it."""
    for module in (resolve, module_of_policies):
        module.HOST_POLICY = str(of_the_host.parent / "loop" / "policy.json")  # type: ignore[attr-defined, unused-ignore]
    (of_the_host.parent / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"loop/policy.json cannot be read: Too many levels"):
        save(f"{registry.host}/free", output="a.tar", network=PLAIN)
    assert not registry.requests


def test_keys_and_a_policy_must_both_be_met(
    store: Store, registry: Simulator, policy: Path, tmp_path: Path
) -> None:
    (second := tmp_path / "second.pem").write_bytes(public(maker.KIND, 1))
    options = Options(policy=policy, verify_keys=[second])
    app = f"{registry.host}/app"
    with pytest.raises(SignatureError, match="it is signed, but not by this key"):
        save(app, output="a.tar", options=options, network=PLAIN)
    both = [maker.signed(maker.payload(OLD.digest), number=number) for number in (0, 1)]
    store.add("app", maker.signatures(*both), maker.tag_of(OLD, ".sig"))
    saved = save(app, output="a.tar", options=options, network=PLAIN)
    assert len(saved.images[0].signers) == 2


def test_a_preview_asks_for_the_same(registry: Simulator, store: Store, policy: Path) -> None:
    options = Options(policy=policy)
    found = forecast(f"{registry.host}/app", output="a.tar", options=options, network=PLAIN)
    assert found.images[0].signers == (KEY,)
    store.add("app", NEW, "latest")
    with pytest.raises(SignatureError):
        forecast(f"{registry.host}/app", output="a.tar", options=options, network=PLAIN)


def test_several_images(registry: Simulator, store: Store, policy: Path) -> None:
    store.add("app", NEW, "new")
    options = Options(policy=policy)
    images = [f"{registry.host}/{name}" for name in ("app:new", "app", "free", "free:none")]
    with pytest.raises(SaveFailures) as caught:
        save(*images, output="a.tar", options=options, network=PLAIN)
    assert caught.value.exit_code == SignatureError.exit_code
    assert names_in(Path()) == []


def test_the_command(registry: Simulator, store: Store, policy: Path) -> None:
    key, app = str(policy.parent / "key.pem"), f"{registry.host}/app"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "--insecure", app, "-o", "a.tar", *words]
        env = environment(policy.parent)
        return subprocess.run(command, capture_output=True, text=True, env=env)

    done = run("--verify-key", key)
    assert done.returncode == 0
    assert f"for linux/amd64, signed with {KEY}" in done.stderr
    done = run("--verify-key", key, "--progress", "json")
    saved = json.loads(done.stderr.splitlines()[-1])
    assert saved["images"][0]["signers"] == [KEY]
    error = error_of(run("--verify-key", key, "--annotation", "env=prod"), 8)
    assert f"{app}:latest: its signature does not have the annotation env=prod" in error
    store.add("app", NEW, "latest")
    assert "it is not signed" in error_of(run("--policy", str(policy)), 8)
    assert "needs --verify-key" in error_of(run("--annotation", "env=prod"), 2)
    twice = ("--annotation", "env=prod", "--annotation", "env=test")
    assert "env=test' contradicts another one" in error_of(run("--verify-key", key, *twice), 2)
    assert "is not KEY=VALUE" in error_of(run("--verify-key", key, "--annotation", "env"), 2)
    assert "cannot be read" in error_of(run("--verify-key", "none.pem"), 2)
    assert main(["--sha", "--verify-key", key, app]) == 2, "it has no effect"
