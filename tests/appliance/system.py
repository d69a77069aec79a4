"""What an emulator of processes cannot show, on Debian's kernel: `make test-appliance-system`."""

from __future__ import annotations

import hashlib
import re
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from dockersave import Network, Options, save
from tests.appliance.conftest import ARCH, ROOT, TARGET
from tests.appliance.machine import Machine
from tests.appliance.test_ends import WORDS
from tests.registry.real import Registries

TIMEOUT = 900
"""A machine of software is slow, and this one may be busy; seconds."""

pytestmark = pytest.mark.timeout(TIMEOUT + 60)

FUNCTIONS = """
group() { # CONTROLLER LIMIT COMMAND...: in a control group of its own
    group=/sys/fs/cgroup/$1-$2
    mkdir $group
    echo $2 >$group/$1.max
    shift 2
    sh -c 'echo $$ >$0/cgroup.procs; exec "$@"' $group "$@"
}
wait_for_program() { # sets its number
    dockersave 127.0.0.1:1/x --wait 600 --quiet &
    program=
    while [ -z "$program" ]; do
        sleep 1
        for each in $(cat /proc/$!/task/$!/children); do
            grep -q libpython /proc/$each/maps && program=$each
        done
    done
    sleep 5
}
stopped() { # SIGNAL: sent to the launcher
    wait_for_program
    kill -$1 $!
    wait $!
}
crashed() { # SIGNAL: sent to the program, as if by the kernel
    wait_for_program
    kill -$1 $program
    wait $!
}
cd /tmp
echo '+memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
"""

REFUSED = "dockersave 127.0.0.1:1/x --retries 0"
SAVE = "dockersave --ca-file /ca.pem --quiet"
STEPS = {
    "as served": f"{SAVE} -o - SERVER/docker | sha256sum",
    "unpacked": f"{SAVE} --gunzip -o - SERVER/zstd | sha256sum",
    "no threads": f"group pids 3 {SAVE} -o - SERVER/docker | sha256sum",
    "verified": f"{SAVE} -o a.tar SERVER/docker && dockersave --verify a.tar; rm a.tar",
    "signal 34": "stopped 34",
    "signal 64": "stopped 64",
    "signal 7": "crashed 7",
    "signal 11": "crashed 11",
    "3 descriptors": f"(ulimit -n 3; exec {REFUSED})",
    "1 process": f"group pids 1 {REFUSED}",
    "2 processes": f"group pids 2 {REFUSED}",
    "10 MiB": f"group memory {10 << 20} {REFUSED}",
    "64 MiB": f"group memory {64 << 20} {SAVE} -o a.tar SERVER/docker; echo $?; rm a.tar",
}
"""Names, and what a shell does there, one after the other."""


SAVES = {"as served": Options(), "unpacked": Options(gunzip=True), "no threads": Options()}
"""The steps that write an archive to standard output."""


class Done(NamedTuple):
    """How a step has ended."""

    code: int
    said: str
    left: str
    """Files in /tmp."""


@pytest.fixture(scope="module")
def expected(registries: Registries, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of archives that are written here."""
    server = registries.get(tls=True)
    digests = {}
    for step, options in SAVES.items():
        path = tmp_path_factory.mktemp("expected") / "a.tar"
        image = server.reference("zstd" if options.gunzip else "docker")
        save(image, output=str(path), options=options, network=Network(ca_file=str(server.ca_file)))
        digests[step] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


@pytest.fixture(scope="module")
def done(
    binary: Path, registries: Registries, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Done]:
    """Do all steps in one machine, and return how each has ended."""
    server = registries.get(tls=True)
    assert server.ca_file is not None
    script = FUNCTIONS
    for name, command in STEPS.items():
        command = command.replace("SERVER", server.host)
        script += f"echo '== {name}'\n{command} 2>&1\necho \"-- $? \"$(ls)\n"
    machine = Machine(
        ROOT / "build" / "out" / "machines" / ARCH,
        TARGET["MACHINE"],
        tmp_path_factory.mktemp("machine"),
    )
    files = {"bin/dockersave": binary, "ca.pem": server.ca_file}
    port = int(server.host.rpartition(":")[2])
    said = machine.run(script, files, [port], TIMEOUT).replace("\r", "")
    found = re.findall(r"^== (.+)\n((?:.*\n)*?)-- (\d+) (.*)$", said, re.MULTILINE)
    assert [name for name, *_ in found] == list(STEPS), said
    return {name: Done(int(code), text, left) for name, text, code, left in found}


@pytest.mark.parametrize("step", SAVES)
def test_the_same_archive_as_here(
    done: dict[str, Done], expected: dict[str, str], step: str
) -> None:
    assert done[step] == (0, f"{expected[step]}  -\n", "")


def test_what_is_saved_can_be_verified(done: dict[str, Done]) -> None:
    assert "a.tar" in done["verified"].said
    assert done["verified"].left == ""


@pytest.mark.parametrize("number", [34, 64])
def test_signals_that_the_emulator_keeps(done: dict[str, Done], number: int) -> None:
    assert (done[f"signal {number}"].code, done[f"signal {number}"].left) == (128 + number, "")


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV])
def test_a_crash_is_named_once(done: dict[str, Done], number: signal.Signals) -> None:
    code, said, left = done[f"signal {int(number)}"]
    assert (code, left) == (128 + number, "")
    assert [line for line in said.splitlines() if line.startswith(WORDS[number])], said


@pytest.mark.parametrize("step", ["3 descriptors", "1 process"])
def test_too_little_of_something(done: dict[str, Done], step: str) -> None:
    assert done[step].said.startswith("dockersave: cannot start: ")
    assert (done[step].code, done[step].left) == (1, "")


def test_one_process_beside_the_launcher(done: dict[str, Done]) -> None:
    assert "refused" in done["2 processes"].said
    assert (done["2 processes"].code, done["2 processes"].left) == (5, "")


def test_too_little_memory_in_a_control_group(done: dict[str, Done]) -> None:
    """Version 2's, as nearly everywhere today."""
    assert "MiB of memory, and" in done["10 MiB"].said
    assert (done["10 MiB"].code, done["10 MiB"].left) == (1, "")


def test_enough_memory_in_a_control_group(done: dict[str, Done]) -> None:
    assert done["64 MiB"].said.splitlines() == ["0"]
