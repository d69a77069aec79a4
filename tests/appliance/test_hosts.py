"""The binary on hostile hosts: it runs, or says in one line why not, and leaves no files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.appliance.conftest import WORK
from tests.appliance.hosts import COMMAND, BareHost, leftovers, megabytes, program_of

READ_ONLY = 'mount --bind "$R" "$R"\n{}\nmount -o remount,ro,bind "$R"\n'
PROC = "mkdir -p $R/proc; mount -t proc proc $R/proc\n"
CANDIDATES = ("tmp", "var/tmp", "dev/shm", "run")


def tmpfs(path: str, options: str = "") -> str:
    return f"mkdir -p $R/{path}; mount -t tmpfs -o mode=1777{options} tmpfs $R/{path}\n"


def runs(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.stderr == ""
    assert re.fullmatch(r"dockersave \d+\.\d+\.\d+\S*\n", done.stdout)
    return done.returncode == 0


HOSTS = {
    "nothing at all": "",
    "a scratch container": PROC,
    "a read-only root and /run": READ_ONLY.format(tmpfs("run")),
    "a read-only root and /dev/shm": READ_ONLY.format(tmpfs("dev/shm")),
    "a /tmp that is noexec": tmpfs("tmp", ",noexec"),
    "a /tmp that is too small": tmpfs("tmp", ",size=3m"),
    "a /tmp of somebody else's": "mkdir $R/tmp; chmod 755 $R/tmp; chown 12345 $R/tmp\n",
    "a /tmp that everybody may change": "mkdir $R/tmp; chmod 777 $R/tmp\n",
    "a /tmp that is a file": "touch $R/tmp\n",
    "a /tmp without inodes": tmpfs("tmp", ",nr_inodes=3"),
    "nothing but noexec": READ_ONLY.format(PROC + "".join(tmpfs(c, ",noexec") for c in CANDIDATES)),
    "little space and noexec": READ_ONLY.format(PROC + tmpfs("dev/shm", ",noexec,size=6m")),
    "little space": READ_ONLY.format(PROC + tmpfs("run", ",size=6m")),
}


@pytest.mark.parametrize("host", HOSTS)
def test_runs(bare: BareHost, host: str) -> None:
    assert runs(bare.run("--version", prepare=HOSTS[host]))
    assert leftovers(bare.root) == []


@pytest.mark.parametrize("host", HOSTS)
def test_loads_what_only_a_save_needs(bare: BareHost, host: str) -> None:
    """TLS and the rest, which is unpacked later: it comes as far as the refused connection."""
    done = bare.run("127.0.0.1:1/x", "--retries", "0", "-o", "/x.tar", prepare=HOSTS[host])
    assert "127.0.0.1:1/x" in done.stderr
    assert "refused" in done.stderr
    assert (done.returncode, leftovers(bare.root)) == (5, [])


IMPOSSIBLE = {
    "nothing writable": (READ_ONLY.format("mkdir -p $R/tmp"), "/tmp: Read-only file system"),
    "noexec and no /proc": (
        READ_ONLY.format("".join(tmpfs(c, ",noexec") for c in CANDIDATES)),
        "/run: mounted noexec; /: Read-only file system; in memory: needs /proc). Set",
    ),
    "hardly any space": (READ_ONLY.format(PROC + tmpfs("tmp", ",size=1m")), "/tmp: No space left"),
}


@pytest.mark.parametrize("host", IMPOSSIBLE)
def test_says_why_not(bare: BareHost, host: str) -> None:
    prepare, reason = IMPOSSIBLE[host]
    done = bare.run("--version", prepare=prepare)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dockersave: no place to unpack")
    assert reason in done.stderr
    assert "TMPDIR" in done.stderr
    for candidate in ("/tmp: ", "/var/tmp: ", "/dev/shm: ", "/run: "):
        assert candidate in done.stderr
    assert leftovers(bare.root) == []


MORE_WORDS = {
    "a save": ["127.0.0.1:1/x", "--retries", "0", "-o", "/x.tar"],
    "a question": ["127.0.0.1:1/x", "--retries", "0", "--sha"],
    "a check": ["--verify", f"/{COMMAND}"],
}


def assert_no_room(code: int | None, output: str, errors: str, root: Path) -> None:
    assert (code, output, leftovers(root)) == (1, "", [])
    assert errors.splitlines() == [
        "dockersave: error: no place to unpack the rest of the program "
        "(/tmp: No space left on device)",
        f"  make room there, or set TMPDIR to a directory with {megabytes(root / COMMAND)} MB",
    ]


@pytest.mark.parametrize("what", MORE_WORDS)
def test_no_inode_is_left_for_what_only_a_save_needs(bare: BareHost, what: str) -> None:
    """All files but the last find a place."""
    with tarfile.open(WORK / "files.tar") as files:
        count = len([*files.getmembers(), "the file system's root", "the directory", "its mark"])
    few = tmpfs("tmp", f",nr_inodes={count - 1}")
    done = bare.run(*MORE_WORDS[what], prepare=few)
    assert_no_room(done.returncode, done.stdout, done.stderr, bare.root)
    done = bare.run(*MORE_WORDS[what], prepare=tmpfs("tmp", f",nr_inodes={count}"))
    assert "unpack" not in done.stderr


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(100_000))


def test_a_disk_that_fills_up_while_it_starts(bare: BareHost) -> None:
    """There is room when the launcher looks, and none when the rest of the files is asked for."""
    for _ in range(10):
        run = bare.start(*MORE_WORDS["a save"], prepare=tmpfs("tmp", ",size=30m"))
        program = None
        while program is None and run.poll() is None:
            program = program_of(run.pid)
        if program is None:
            continue
        os.kill(program, signal.SIGSTOP)
        place = Path(f"/proc/{run.pid}/root/tmp")
        too_late = any(place.rglob("_ssl*"))
        with pytest.raises(OSError, match="No space left"):
            fill(place / "full")
        space = os.open(place, os.O_RDONLY)
        os.kill(program, signal.SIGCONT)
        output, errors = run.communicate(timeout=20)
        left = os.listdir(space)
        os.close(space)
        if not too_late:
            assert left == ["full"]
            assert_no_room(run.returncode, output, errors, bare.root)
            return
    pytest.fail("each time it had asked for the rest before it could be stopped")


ENVIRONMENTS = {
    "none": {},
    "libraries of the host's": {"LD_LIBRARY_PATH": "/junk:/lib"},
    "another Python": {"PYTHONHOME": "/junk", "PYTHONPATH": "/junk", "PYTHONSTARTUP": "/junk"},
    "PyInstaller's": {"_PYI_ARCHIVE_FILE": "/junk", "_PYI_PARENT_PROCESS_LEVEL": "1"},
    "ours": {"DOCKERSAVE_REST": "99", "~D_PRELOAD": "/junk/none.so"},
    "as long as can be": {"LD_LIBRARY_PATH": "/" * (2**17 - len("LD_LIBRARY_PATH=") - 1)},
    "a locale": {"LANG": "de_DE.ISO-8859-15", "LC_ALL": "xx_YY"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment(bare: BareHost, name: str) -> None:
    bare.write("/junk/libc.so.6", "not a library")
    bare.write("/junk/libpython3.11.so.1.0", "not a library")
    bare.write("/junk/os.py", "raise SystemExit(99)")
    assert runs(bare.run("--version", environment=ENVIRONMENTS[name]))


def test_preloaded_library(binary: Path, tmp_path: Path) -> None:
    """A library of the host's is not loaded into the program, which has another C library."""
    environment = {"LD_PRELOAD": "/none.so", "LD_AUDIT": "/none.so", "TMPDIR": str(tmp_path)}
    command = [str(binary), "--version"]
    assert runs(subprocess.run(command, env=environment, capture_output=True, text=True))


def test_openssl_configuration_of_the_host_is_not_read(bare: BareHost) -> None:
    broken = "openssl_conf = x\n[x]\nproviders = y\n[y]\nz = z\n[z]\nmodule = /none\nactivate = 1\n"
    for directory in ("/usr/lib/ssl", "/etc/ssl", "/usr/local/ssl", "/etc/pki/tls"):
        bare.write(f"{directory}/openssl.cnf", broken)
    done = bare.run("127.0.0.1:1/x", "--retries", "0")
    assert done.returncode == 5
    assert "refused" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(binary: Path, tmp_path: Path, closed: str) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    script = f'"$0" --version {closed}'
    done = subprocess.run(
        ["sh", "-c", script, str(binary)], env=environment, capture_output=True, text=True
    )
    if ">&- " in closed or closed == ">&-":
        # The output has nowhere to go: that is an error, reported where possible.
        assert done.returncode == 7
        assert ("standard output" in done.stderr) == ("2>&-" not in closed)
    else:
        assert done.returncode == 0
        assert done.stdout.startswith("dockersave ")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("words", [["--version"], ["--licenses"]])
def test_closed_output_where_there_is_no_dev(bare: BareHost, words: list[str]) -> None:
    """The output has nowhere to go, as above."""
    done = bare.run(*words, prepare="exec >&-")
    assert (done.returncode, leftovers(bare.root)) == (7, [])
    assert "standard output" in done.stderr


@pytest.mark.parametrize("prepare", ["exec <&-", "exec </"], ids=["closed", "a directory"])
def test_standard_input_where_there_is_no_dev(bare: BareHost, prepare: str) -> None:
    assert runs(bare.run("--version", prepare=prepare))


@pytest.mark.parametrize("name", ["standard output full", "no argv[0]", "100 KiB of arguments"])
def test_odd_calls(binary: Path, tmp_path: Path, name: str) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    if name == "standard output full":
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [str(binary), "--version"], env=environment, stdout=full, stderr=subprocess.PIPE
            )
        assert done.returncode == 7
        assert b"No space left" in done.stderr
    elif name == "no argv[0]":
        done = subprocess.run(
            ["bash", "-c", f"exec -a '' {binary} --version"], env=environment, capture_output=True
        )
        assert done.stdout.startswith(b"dockersave ")
    else:
        words = ["x" * 1000] * 100
        done = subprocess.run(
            [str(binary), "--tarname", *words], env=environment, capture_output=True
        )
        assert done.returncode == 2
    assert leftovers(tmp_path) == []


def test_unprivileged_user_namespace(binary: Path, tmp_path: Path) -> None:
    """In a namespace where root's directories seem to belong to the user nobody."""
    tmp_path.chmod(0o755)
    command = [
        "bwrap",
        "--unshare-user",
        "--uid",
        "1000",
        "--ro-bind",
        str(binary),
        "/bin/dockersave",
    ]
    done = subprocess.run(
        [*command, "--proc", "/proc", "--tmpfs", "/tmp", "/bin/dockersave", "--version"],
        capture_output=True,
        text=True,
    )
    assert runs(done)
