"""Faults in any combination, as hypothesis thinks them up."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockersave.errors import DockersaveError
from dockersave.model.options import Options
from tests.faults.saving import saved, sha256
from tests.images import Store, image, random_layer
from tests.registry.faults import Fault
from tests.registry.simulator import Auth, Simulator
from tests.registry.strategies import any_faults, fault_lists, harmless_faults, passing_faults

LAYERS = [
    random_layer(2_300_000, 1, "gzip"),
    random_layer(100_000, 2),
    random_layer(1_300_000, 3, "zstd"),
]
STORE = Store.of({"sample": image(LAYERS)})
OPTIONS = st.sampled_from([Options(), Options(gunzip=True), Options(tree=True, layers_dir="tree")])
KINDS = ("token", "manifest", "config", "blob", "storage")

common = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def try_all(faults: list[Fault], options: Options, storage: bool) -> tuple[bool, str]:
    """Save with faults, then without.

    Returns:
        Whether it went well at once, and what went wrong, if anything.
    """
    folder = Path(tempfile.mkdtemp(prefix="dockersave-composed-"))
    try:
        with Simulator(STORE, storage=storage, auth=Auth(anonymous=True)) as server:
            server.faults.add(*faults)
            output, right = folder / "image.tar", folder / "right.tar"
            output.write_bytes(b"old")
            failure: DockersaveError | None = None
            try:
                saved(server, output, options=at(options, folder), timeout=0.5, retries=8)
            except DockersaveError as error:
                failure = error
            failed = str(failure) if failure else ""
            if failure is not None:
                assert failure.exit_code in (3, 4, 5, 6), failure
                assert "\n" not in failed
                assert output.read_bytes() == b"old"
            server.faults.clear()
            if failed:
                saved(server, output, options=at(options, folder), timeout=10.0)
            saved(server, right, options=Options(gunzip=options.gunzip), timeout=10.0)
            assert sha256(output) == sha256(right)
            assert not list(folder.glob("*.part*"))
            return not failed, failed
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)


def at(options: Options, folder: Path) -> Options:
    """The same options, in a directory."""
    return replace(options, working_dir=str(folder))


def passes(faults: list[Fault], options: Options, storage: bool) -> None:
    """What strikes but now and then is got over."""
    well, failed = try_all(faults, options, storage)
    assert well, f"{faults}: {failed}"


def ends(faults: list[Fault], options: Options, storage: bool) -> None:
    """Whatever strikes, there is a clear end, and the next run makes the archive."""
    try_all(faults, options, storage)


TRANSIENT = st.one_of(passing_faults(KINDS), harmless_faults(KINDS))


def transient_lists(most: int) -> st.SearchStrategy[list[Fault]]:
    """Lists of up to `most` faults that are got over, of which one at the most flips a bit."""

    def kind(fault: Fault) -> object:
        return fault.name if fault.name == "flip_bit" else id(fault)

    return st.lists(TRANSIENT, min_size=1, max_size=most, unique_by=kind)


# What hangs would hang again each time that hypothesis makes it smaller: the whole process ends.
@settings(common, max_examples=25)
@given(transient_lists(2), OPTIONS, st.booleans())
@pytest.mark.timeout(600, method="thread")
def test_what_passes(faults: list[Fault], options: Options, storage: bool) -> None:
    passes(faults, options, storage)


@settings(common, max_examples=25)
@given(fault_lists(any_faults(KINDS), 3), OPTIONS, st.booleans())
@pytest.mark.timeout(600, method="thread")
def test_anything(faults: list[Fault], options: Options, storage: bool) -> None:
    ends(faults, options, storage)


@pytest.mark.long
@settings(common, max_examples=1500)
@given(transient_lists(3), OPTIONS, st.booleans())
def test_what_passes_at_length(faults: list[Fault], options: Options, storage: bool) -> None:
    passes(faults, options, storage)


@pytest.mark.long
@settings(common, max_examples=1500)
@given(fault_lists(any_faults(KINDS), 5), OPTIONS, st.booleans())
def test_anything_at_length(faults: list[Fault], options: Options, storage: bool) -> None:
    ends(faults, options, storage)
