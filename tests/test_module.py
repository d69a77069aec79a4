"""dockersave as a library: what is exported, in threads, in async programs, and as documented."""

from __future__ import annotations

import asyncio
import doctest
import hashlib
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import dockersave
from dockersave.archive.formats import format_named
from dockersave.model.formats import FORMATS
from dockersave.progress import Transfer
from tests.images import Store, image, random_layer
from tests.internet import Internet
from tests.registry.real import Registry
from tests.registry.simulator import Fault, Simulator

PLAIN = dockersave.Network(insecure=True, retries=3)
BIG = Store.of({"big": image([random_layer(8_000_000, 1), random_layer(8_000_000, 2)])})


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in internet.environ.items():
        monkeypatch.setenv(name, value)
    results = doctest.testmod(dockersave, optionflags=doctest.FAIL_FAST)
    assert results.failed == 0
    assert results.attempted > 5


def test_everything_public_is_there_and_documented() -> None:
    for name in dockersave.__all__:
        value = getattr(dockersave, name)
        assert name in dir(dockersave)
        if name != "__version__":
            assert value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = dockersave.nonsense


def test_importing_it_imports_nothing_else() -> None:
    script = "import sys, dockersave; print(*(n for n in sys.modules if 'dockersave' in n))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["dockersave"]


def test_no_module_hides_a_public_name() -> None:
    """Importing `dockersave.x` makes the module the package's attribute `x`."""
    modules = {path.stem for path in Path(dockersave.__file__).parent.iterdir()}
    assert not modules & set(dockersave.__all__)


def test_it_prints_nothing_and_touches_no_signal(
    plain_registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    threads = threading.active_count()
    saved = dockersave.save(plain_registry.reference("docker"), output="x.tar", network=PLAIN)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert threading.active_count() == threads, "no thread outlives the call"
    assert capfd.readouterr() == ("", "")
    assert saved.paths == ("x.tar",)
    assert saved.size == Path("x.tar").stat().st_size
    assert saved.fetched > 0
    assert not saved.unchanged
    again = dockersave.save(plain_registry.reference("docker"), output=Path("x.tar"), network=PLAIN)
    assert again.unchanged
    assert again.fetched == 0


def test_in_an_async_program(plain_registry: Registry) -> None:
    async def main() -> list[dockersave.Saved]:
        return await asyncio.gather(
            *(
                asyncio.to_thread(
                    dockersave.save,
                    plain_registry.reference(name),
                    output=f"{name}.tar",
                    network=PLAIN,
                )
                for name in ("docker", "oci", "multi")
            )
        )

    saved = asyncio.run(main())
    assert [each.paths for each in saved] == [("docker.tar",), ("oci.tar",), ("multi.tar",)]
    assert all(Path(each.paths[0]).exists() for each in saved)


def test_stopping_it_from_another_thread() -> None:
    cancellation = dockersave.Cancellation()
    with Simulator(BIG) as server:
        threading.Timer(0.5, cancellation.cancel).start()
        with pytest.raises(dockersave.CancelledError) as caught:
            dockersave.save(
                f"{server.host}/big",
                output="big.tar",
                network=dockersave.Network(insecure=True, limit_rate=500_000),
                cancellation=cancellation,
            )
    assert "big.tar.part" in caught.value.hint
    assert not Path("big.tar").exists()
    assert Path("big.tar.part").exists()


class Recorder(dockersave.Progress):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.most = 0
        self.threads: set[int] = set()
        self._transfers: Sequence[Transfer] = ()

    def _called(self, name: str) -> None:
        self.threads.add(threading.get_ident())
        if not self.calls or self.calls[-1] != name:
            self.calls.append(name)

    def phase(self, name: str) -> None:
        self._called(name)

    def start(self, transfers: Sequence[Transfer]) -> None:
        self._called("start")
        self._transfers = transfers

    def tick(self) -> None:
        self._called("tick")
        present = sum(transfer.present for transfer in self._transfers)
        assert present >= self.most, "what is here stays here"
        assert all(transfer.present <= transfer.size for transfer in self._transfers)
        self.most = present

    def finish(self) -> None:
        self._called("finish")


def test_watching_it() -> None:
    progress = Recorder()
    with Simulator(BIG) as server:
        network = dockersave.Network(insecure=True, limit_rate=20_000_000)
        saved = dockersave.save(
            f"{server.host}/big", output="big.tar", network=network, progress=progress
        )
    assert progress.calls == ["resolving", "start", "tick", "publishing", "finish"]
    assert progress.most == saved.fetched >= 16_000_000
    assert progress.threads == {threading.get_ident()}, "called from the caller's thread alone"


def test_whoever_watches_may_end_it() -> None:
    class Impatient(dockersave.Progress):
        def tick(self) -> None:
            raise KeyError("enough")

    with Simulator(BIG) as server, pytest.raises(KeyError, match="enough"):
        dockersave.save(f"{server.host}/big", output="big.tar", network=PLAIN, progress=Impatient())
    assert not Path("big.tar").exists()


def test_failures_are_classes(plain_registry: Registry) -> None:
    with pytest.raises(dockersave.UsageError):
        dockersave.save("Not A Reference", output="x.tar")
    with pytest.raises(dockersave.UsageError):
        dockersave.save(output="x.tar")
    with pytest.raises(dockersave.NotFoundError) as caught:
        dockersave.save(plain_registry.reference("nothing"), output="x.tar", network=PLAIN)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    with pytest.raises(dockersave.SaveFailures) as several:
        dockersave.save(
            plain_registry.reference("nothing"),
            plain_registry.reference("docker"),
            plain_registry.reference("missing"),
            output="x.tar",
            network=PLAIN,
        )
    assert len(several.value.failures) == 2
    with pytest.raises(dockersave.NetworkError):
        dockersave.save(
            "127.0.0.1:1/x", output="x.tar", network=dockersave.Network(insecure=True, retries=0)
        )
    with pytest.raises(dockersave.OutputError):
        dockersave.save(plain_registry.reference("docker"), output="no/x.tar", network=PLAIN)
    assert not list(Path().iterdir())


def test_options_do_not_show_the_password() -> None:
    network = dockersave.Network(user="me", password="canary")
    assert "canary" not in repr(network)
    assert pickle.loads(pickle.dumps(network)) == network


@pytest.mark.parametrize(
    "wrong",
    [
        {"jobs": 0},
        {"jobs": 65},
        {"jobs": 100},
        {"retries": -1},
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"wait": -1.0},
        {"limit_rate": 0},
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(dockersave.UsageError, match=f"^{next(iter(wrong))}="):
        dockersave.Network(**wrong)


def test_every_format_that_can_be_written_can_be_chosen() -> None:
    assert all(format_named(dockersave.Options(format=name).format) for name in FORMATS)
    with pytest.raises(dockersave.UsageError, match="unknown format 'tar'") as caught:
        dockersave.Options(format="tar")
    assert "docker, oci, legacy" in caught.value.hint


@pytest.fixture
def registry() -> Iterator[dockersave.Registry]:
    with dockersave.Registry(PLAIN) as made:
        yield made


def test_questions(registry: dockersave.Registry, plain_registry: Registry) -> None:
    name = plain_registry.reference("multi")
    assert list(registry.tags(name)) == ["latest"]
    index = registry.digest(name)
    assert hashlib.sha256(registry.manifest(name, "all")).hexdigest() == index.partition(":")[2]
    resolved = registry.resolve(name, "linux/arm64")
    assert str(resolved.platform) == "linux/arm64"
    assert registry.digest(name, "linux/arm64") == resolved.digest != index
    assert registry.manifest(name, "linux/arm64") == resolved.manifest
    assert resolved.size == sum(layer.size for layer in resolved.layers)
    assert resolved.reference == dockersave.Reference.parse(name)
    with pytest.raises(dockersave.NotFoundError):
        registry.resolve(name, "linux/s390x")
    with pytest.raises(dockersave.UsageError):
        registry.resolve(name, "nonsense/to/the/end/and/on")


def test_a_blob_is_a_stream(registry: dockersave.Registry, plain_registry: Registry) -> None:
    name = plain_registry.reference("docker")
    layer = registry.resolve(name).layers[1]
    with registry.open(name, layer) as stream:
        parts = list(iter(lambda: stream.read(1000), b""))
    body = b"".join(parts)
    assert len(body) == layer.size
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer.digest
    with registry.open(name, layer) as stream:
        assert stream.read(10) == body[:10], "it need not be read to the end"


BROKEN = Store.of({"big": image([random_layer(3_000_000, 3)])})


def test_a_blob_that_breaks_off_is_taken_up_again(registry: dockersave.Registry) -> None:
    with Simulator(BROKEN) as server:
        server.faults.add(Fault.reset_after(1_000_000, on="blob", times=2))
        name = f"{server.host}/big"
        layer = registry.resolve(name).layers[0]
        with registry.open(name, layer) as stream:
            body = stream.read()
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer.digest


def test_a_wrong_blob_does_not_end_well(registry: dockersave.Registry) -> None:
    with Simulator(BROKEN) as server:
        server.faults.add(Fault.flip_bit(2_999_999, on="blob"))
        name = f"{server.host}/big"
        layer = registry.resolve(name).layers[0]
        received: list[bytes] = []
        with (
            registry.open(name, layer) as stream,
            pytest.raises(dockersave.ContentError, match="hashes to"),
        ):
            received.extend(iter(lambda: stream.read(1000), b""))
    assert 0 < sum(map(len, received)) < layer.size, "the last bytes never came out"
