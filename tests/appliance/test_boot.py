"""The init script and systemd unit of `--help boot`, as they are there, on a host that boots."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.appliance.hosts import BareHost, example, leftovers
from tests.images import sample_image
from tests.pace import Stopwatch
from tests.processes import Daemon, program
from tests.registry.real import Registries

REGISTRY = "registry.example.com"
IMAGE = f"{REGISTRY}/team/app:1.2"
INSTALLED = "/usr/local/bin/dockersave"
ARCHIVE = "/srv/images/app.tar"


class Segment:
    """A network of its own, of which the registry is a part: down at first, as at boot.

    Parameters:
        process: a process in it.
    """

    def __init__(self, process: int) -> None:
        self.process = process

    def up(self) -> None:
        """Have it work from now on."""
        enter = ["nsenter", f"--net=/proc/{self.process}/ns/net"]
        subprocess.run([*enter, program("ip"), "link", "set", "lo", "up"], check=True)


@pytest.fixture
def segment(registries: Registries, tmp_path: Path) -> Iterator[Segment]:
    """Run a real registry under the name and at the port that the examples mean."""
    registries.get()
    registries.push({"team/app": sample_image(seed=1)}, "1.2")
    pem = tmp_path / "server.pem"
    certificate = registries.authority.issue_cert(REGISTRY)
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    config = {
        "version": "0.1",
        "storage": {
            "filesystem": {"rootdirectory": str(registries.folder / "storage")},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {
            "addr": ":443",
            "secret": "tests",
            "tls": {"certificate": str(pem), "key": str(pem)},
        },
    }
    file = tmp_path / "registry.yml"
    file.write_text(json.dumps(config))
    log = tmp_path / "registry.log"
    with Daemon(
        ["unshare", "--net", program("docker-registry"), "serve", file],
        log,
        lambda: "listening on" in log.read_text(),
        env={"OTEL_TRACES_EXPORTER": "none"},
    ) as daemon:
        yield Segment(daemon.process.pid)


@pytest.fixture
def host(bare: BareHost, binary: Path, registries: Registries) -> BareHost:
    """Return a host with the command where it is installed, and a place for the image."""
    bare.write("/etc/hosts", f"127.0.0.1 {REGISTRY}\n")
    bare.write("/etc/ssl/certs/ca-certificates.crt", registries.ca_file.read_text())
    (bare.root / f".{INSTALLED}").parent.mkdir(parents=True)
    shutil.copy(binary, bare.root / f".{INSTALLED}")
    (bare.root / f".{ARCHIVE}").parent.mkdir(parents=True)
    return bare


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        names: list[str] = json.load(manifest)[0]["RepoTags"]
        return names


class Script:
    """The init script on a host with nothing but a shell, run as the system's first process.

    Parameters:
        host: the host.
        segment: its network.
    """

    def __init__(self, host: BareHost, segment: Segment) -> None:
        self.host, self.segment = host, segment
        self.text = example("sh", "# /etc/init.d/images")
        host.add_program("sh")

    def run(
        self, *words: str, instead: tuple[str, str] | None = None, offline: bool = False
    ) -> tuple[int, str]:
        """Return the exit code, and what it says on either stream.

        Args:
            words: the script's arguments.
            instead: a part of its text, and what replaces it.
            offline: there is no network, and none will come up.
        """
        text = self.text
        if instead:
            assert instead[0] in text
            text = text.replace(*instead)
        self.host.write("/etc/init.d/images", text)
        namespaces = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        done = self.host.run(
            *words,
            network=None if offline else self.segment.process,
            namespaces=[*namespaces, "--net"] if offline else namespaces,
            command=["/bin/sh", "/etc/init.d/images"],
        )
        assert leftovers(self.host.root) == []
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def script(host: BareHost, segment: Segment) -> Script:
    return Script(host, segment)


def test_init_script_waits_for_the_network(script: Script) -> None:
    archive = script.host.root / f".{ARCHIVE}"
    later = threading.Timer(1, script.segment.up)
    later.start()
    try:
        assert script.run("start") == (0, "")
    finally:
        later.cancel()
    assert names_in(archive) == [IMAGE]
    assert script.host.run("--verify", ARCHIVE).returncode == 0
    before = archive.stat()
    assert script.run("start") == (0, "")
    after = archive.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "it was right"
    assert script.run("stop") == (0, "")
    assert script.run("restart") == (2, "usage: /etc/init.d/images start|stop\n")


def test_init_script_goes_on_with_the_image_of_the_day_before(script: Script) -> None:
    script.segment.up()
    hurry = ("--wait 120", "--wait 1")
    archive = script.host.root / f".{ARCHIVE}"
    code, said = script.run("start", instead=hurry, offline=True)
    assert (code, archive.exists()) == (1, False)
    assert f"error: {IMAGE}: {REGISTRY}: the network is unreachable (127.0.0.1)\n" in said
    assert script.run("start") == (0, "")
    saved = archive.read_bytes()
    assert script.run("start", instead=hurry, offline=True) == (0, said)
    code, said = script.run("start", instead=("app:1.2", "app:1.3"))
    assert (code, ": has no manifest of" in said) == (1, True), (
        "a wrong name is not the network's fault"
    )
    assert archive.read_bytes() == saved


def exec_start() -> list[str]:
    unit = example("ini", "[Service]").replace("\\\n", " ")
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    return shlex.split(line)


def test_systemd_accepts_the_unit(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "images.service").write_text(example("ini", "[Service]"))
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
            f"mount -t tmpfs tmpfs {Path(INSTALLED).parent}\n"
            f'cp "$0" {INSTALLED}\nexec "$@" verify ./images.service',
            *(str(binary), program("systemd-analyze")),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_units_command(host: BareHost, segment: Segment) -> None:
    """Stopped within a second, it continues at the next start, and logs what it does."""
    segment.up()
    command = exec_start()
    process = host.start("--limit-rate", "1", network=segment.process, command=command)
    part = host.root / f".{ARCHIVE}.part"
    until(part.exists)
    time.sleep(0.3)
    watch = Stopwatch()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, leftovers(host.root)) == (143, []), said
    assert watch.own < 1
    assert part.exists()
    done = host.run(network=segment.process, command=command)
    assert (done.returncode, done.stdout, leftovers(host.root)) == (0, "", []), done.stderr
    assert re.search(rf"^dockersave: {ARCHIVE}: \d+", done.stderr, re.MULTILINE)
    assert [path.name for path in part.parent.iterdir()] == ["app.tar"]
    assert names_in(part.with_suffix("")) == [IMAGE]


CGROUP = f"dockersave-tests-{os.getpid()}"
PREPARE_SYSTEM = f"""
CGROUP={CGROUP}
mount --bind $R $R
mkdir -p $R/usr $R/proc $R/sys $R/dev $R/run $R/tmp
ln -s usr/bin usr/sbin usr/lib usr/lib64 $R
mount --bind /usr $R/usr
mount -t tmpfs tmpfs $R/usr/local/bin
cp $R/dockersave-static $R/usr/local/bin/dockersave
mount -t proc proc $R/proc
mount --rbind /sys $R/sys
mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
mkdir $R/sys/fs/cgroup/$CGROUP
echo 0 >$R/sys/fs/cgroup/$CGROUP/cgroup.procs
mount --rbind /dev $R/dev
mount -t tmpfs tmpfs $R/run
mount -t tmpfs tmpfs $R/tmp
"""
REMOVE_CGROUPS = f"""
mount -t cgroup2 cgroup2 "$0"
find "$0/{CGROUP}" -depth -type d -exec rmdir {{}} +
"""
UNITS = "/etc/systemd/system"
LOG = "/srv/images.log"


class System:
    """A host whose first process is systemd, with the guide's unit and no other service.

    Its loopback is up: systemd sees to that.

    Parameters:
        host: the host.
        segment: its network.
        replaced: parts of the unit's text, and what replaces them.
    """

    def __init__(self, host: BareHost, segment: Segment, replaced: Mapping[str, str]) -> None:
        self._root = host.root
        self._log = host.root / f".{LOG}"
        unit = example("ini", "[Service]")
        for old, new in replaced.items():
            assert old in unit
            unit = unit.replace(old, new)
        host.write(f"{UNITS}/images.service", unit)
        host.write(f"{UNITS}/images.service.d/log.conf", f"[Service]\nStandardError=append:{LOG}\n")
        for target in ("sysinit", "basic", "network-online", "multi-user", "shutdown"):
            host.write(f"{UNITS}/{target}.target", "[Unit]\nDefaultDependencies=no\n")
        enable = [program("systemctl"), f"--root={host.root}", "enable", "images.service"]
        subprocess.run(enable, check=True, capture_output=True)
        namespaces = ["--mount", "--propagation", "private", "--pid", "--uts", "--ipc"]
        self._process = host.start(
            "--unit=multi-user.target",
            prepare=PREPARE_SYSTEM,
            environment={"container": "other", "SYSTEMD_UNIT_PATH": UNITS},
            namespaces=[*namespaces, "--fork", "--kill-child"],
            network=segment.process,
            command=["/usr/lib/systemd/systemd"],
        )

    def end(self) -> str:
        """Kill it; return its output and its log."""
        self._process.kill()
        said = "".join(self._process.communicate(timeout=20))
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", REMOVE_CGROUPS]
        # Its processes are gone a little later.
        until(lambda: subprocess.run([*words, self._root / "tmp"]).returncode == 0)
        return said + self.log()

    def log(self) -> str:
        """Return what the unit has said."""
        return self._log.read_text() if self._log.exists() else ""

    def systemctl(self, *words: str) -> str:
        """Return what ``systemctl`` says there."""
        outside = self._process.pid
        children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        enter = ["nsenter", "--target", *children[:1], "--mount", "--pid", "--root", "--wd=/"]
        done = subprocess.run(
            [*enter, "/bin/systemctl", *words], capture_output=True, text=True, timeout=20
        )
        return done.stdout + done.stderr

    def wait_for(self, **wanted: str) -> str:
        """Wait until the unit has the wanted properties; return its log."""
        deadline = time.monotonic() + 30
        while True:
            shown = self.systemctl("show", "images.service").splitlines()
            state = dict(line.split("=", 1) for line in shown if "=" in line)
            if wanted.items() <= state.items():
                return self.log()
            if self._process.poll() is not None or time.monotonic() > deadline:
                found = {name: state.get(name) for name in wanted}
                pytest.fail(f"{found}, not {wanted}")
            time.sleep(0.1)


@pytest.fixture
def boot(host: BareHost, segment: Segment) -> Iterator[Callable[..., System]]:
    """Return a function that boots a host."""
    with ExitStack() as running:

        def booted(replaced: Mapping[str, str]) -> System:
            system = System(host, segment, replaced)
            running.callback(lambda: print(system.end()))
            return system

        yield booted


DONE = {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}


@pytest.mark.long
def test_systemd_saves_once_there_is_a_network(boot: Callable[..., System], host: BareHost) -> None:
    host.write("/etc/hosts", f"192.0.2.1 {REGISTRY}\n")
    system = boot({"--wait 120": "--retries 0", "RestartSec=60": "RestartSec=1"})
    until(lambda: system.log().count("the network is unreachable") >= 2)
    host.write("/etc/hosts", f"127.0.0.1 {REGISTRY}\n")
    log = system.wait_for(**DONE, SubState="dead")
    assert log.splitlines()[-1].startswith(f"dockersave: {ARCHIVE}: ")
    assert names_in(host.root / f".{ARCHIVE}") == [IMAGE]


@pytest.mark.long
def test_systemd_gives_up_what_is_in_vain(boot: Callable[..., System]) -> None:
    system = boot({"app:1.2": "app:1.3", "RestartSec=60": "RestartSec=1"})
    log = system.wait_for(ActiveState="failed", Result="exit-code", ExecMainStatus="3")
    time.sleep(2)
    assert system.wait_for(ActiveState="failed", NRestarts="0") == log


@pytest.mark.long
def test_systemd_stops_it(boot: Callable[..., System], host: BareHost) -> None:
    system = boot({"app.tar\n": "app.tar --limit-rate 1\n"})
    system.wait_for(ActiveState="activating", SubState="start")
    part = host.root / f".{ARCHIVE}.part"
    until(part.exists)
    watch = Stopwatch()
    system.systemctl("stop", "images.service")
    assert watch.own < 2
    log = system.wait_for(ActiveState="inactive", Result="success", ExecMainStatus="143")
    assert "stopped by SIGTERM" in log
    assert part.exists()
