"""What a program that uses the module sees of its types."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import dockersave

CLIENT = """
import asyncio
from pathlib import Path
from typing import Iterator, assert_type

import dockersave


class Watch(dockersave.Progress):
    def tick(self) -> None:
        print("tick")


def main(network: dockersave.Network) -> None:
    options = dockersave.Options(
        output=Path("x.tar"), working_dir=Path("w"), reuse=[Path("a"), "b"], cache_dir=Path("c")
    )
    assert_type(options.output, str | None)
    assert_type(options.reuse, tuple[str, ...])
    saved = dockersave.save("debian", options=options, network=network, progress=Watch())
    assert_type(saved, dockersave.Saved)
    for image in saved.images:
        assert_type(image, dockersave.SavedImage)
        assert_type(image.platform, dockersave.Platform)
    report = dockersave.check_archive(Path("x.tar"))
    for checked in report.images:
        assert_type(checked, dockersave.CheckedImage)
    for fault in report.faults:
        assert_type(fault, dockersave.Fault)
    listing = dockersave.list_archive(Path("x.tar"))
    assert_type(listing, dockersave.Listing)
    forecast = dockersave.forecast("debian", output=Path("x.tar"))
    for layer in forecast.layers:
        assert_type(layer, dockersave.ForecastLayer)
    with dockersave.Registry(network) as registry:
        assert_type(registry.tags("debian"), Iterator[str])
        assert_type(registry.referrers("debian"), Iterator[dockersave.Descriptor])
        resolved = registry.resolve("debian")
        assert_type(resolved.layers, tuple[dockersave.Descriptor, ...])
    policy = dockersave.Policy.of_keys([Path("a.pem"), "b.pem"], {"env": "prod"})
    assert_type(policy, dockersave.Policy)
    assert_type(dockersave.Policy.read(Path("policy.json")), dockersave.Policy)
    signed = dockersave.verify_signature("debian", policy, network=network)
    assert_type(signed, dockersave.SignedImage)
    assert_type(signed.signers, tuple[str, ...])
    dockersave.check_archive("x.tar", policies=[policy])
    try:
        dockersave.save("debian", "alpine", output="x.tar")
    except dockersave.SaveFailures as several:
        assert_type(several.failures, list[dockersave.DockersaveError])
    except dockersave.DockersaveError as failure:
        assert_type((failure.exit_code, failure.message, failure.hint), tuple[int, str, str])


async def later() -> dockersave.Saved:
    return await dockersave.save_async("debian", output=Path("x.tar"))


network = dockersave.Network(ca_file=Path("ca.pem"), authfile=Path("auth.json"), mirrors=["http://m"])
main(network)
assert_type(asyncio.run(later()), dockersave.Saved)
"""

WRONG = """
import dockersave
dockersave.save(["a", "b"])
dockersave.save("a", output=3)
dockersave.Options(output=3)
dockersave.Network(nonsense=1)
task = dockersave.save_async("a", output=3)
task = dockersave.save_async("a", nonsense=1)
"""


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file="]
    package = Path(dockersave.__file__).parent.parent
    return subprocess.run(
        [*words, str(path)],
        cwd=path.parent,
        env={"MYPYPATH": str(package), "PATH": ""},
        capture_output=True,
        text=True,
    )


def test_a_program_that_is_right(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    done = mypy(tmp_path / "client.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_program_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    done = mypy(tmp_path / "wrong.py")
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line.split(":")[1] for line in lines] == ["3", "4", "5", "6", "7", "8"], done.stdout


def classes_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


def given_by(value: object) -> Iterator[object]:
    """The types of what a function returns, or of what a class has and its methods return."""
    names = {name: getattr(typing, name, None) for name in ("Any", "BinaryIO")}
    names |= {name: getattr(collections.abc, name) for name in collections.abc.__all__}
    if inspect.isfunction(value):
        yield typing.get_type_hints(value, localns=names)["return"]
    elif isinstance(value, type):
        if dataclasses.is_dataclass(value):
            yield from typing.get_type_hints(value, localns=names).values()
        for name, member in vars(value).items():
            function = member.fget if isinstance(member, property) else member
            function = getattr(function, "__func__", function)
            if not name.startswith("_") and inspect.isfunction(function):
                yield typing.get_type_hints(function, localns=names)["return"]


def test_everything_that_is_given_is_exported() -> None:
    exported = {getattr(dockersave, name) for name in dockersave.__all__}
    given = {
        (name, kind)
        for name in dockersave.__all__
        for hint in given_by(getattr(dockersave, name))
        for kind in classes_in(hint)
        if kind.__module__.startswith("dockersave")
    }
    assert len(given) > 10
    assert not {(name, kind) for name, kind in given if kind not in exported}
