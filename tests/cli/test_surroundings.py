"""Odd surroundings: streams that are closed or full, odd locales, no threads, limits."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dockersave.cli import main
from dockersave.cli.command import Run
from tests.cli.command import COMMAND, ROOT, Runner, environment, error_of
from tests.registry.real import Registry


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("--licenses",)])
def test_a_full_standard_output(run: Runner, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = run(*arguments, stdout=full)
    assert "No space left on device\n  redirect it" in error_of(done, 7)


@pytest.mark.parametrize("arguments", [("--sha",), ("-o", "-")])
def test_a_standard_output_for_reading(
    run: Runner, plain_registry: Registry, arguments: tuple[str, ...]
) -> None:
    with open("/dev/null", "rb") as null:
        done = run("--insecure", plain_registry.reference("docker"), *arguments, stdout=null)
    assert "Bad file descriptor\n  redirect it" in error_of(done, 7)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams(plain_registry: Registry, tmp_path: Path, closed: Sequence[int]) -> None:
    redirections = " ".join(f"{descriptor}>&-" for descriptor in closed)
    for arguments, code in (
        (["--insecure", plain_registry.reference("docker"), "-o", "x.tar"], 0),
        (["--insecure", plain_registry.reference("docker"), "--sha"], 7 if 1 in closed else 0),
        (["--version"], 7 if 1 in closed else 0),
        (["--insecure", plain_registry.reference("nothing"), "-o", "y.tar"], 3),
    ):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirections}', "sh", *COMMAND, *arguments],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
    archive = (tmp_path / "x.tar").read_bytes()
    assert b"dockersave:" not in archive, "no word of ours went into the archive"
    check = subprocess.run(
        [*COMMAND, "--verify", "x.tar"], cwd=tmp_path, env=environment(tmp_path), check=False
    )
    assert check.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [("--tags",), ("--metadata",), ("-o", "-"), ("-o", "-", "-q"), ("-o", "-", "--zstd")],
    ids=" ".join,
)
def test_a_closed_pipe_ends_an_answer_quietly_but_is_an_error_of_an_archive(
    run: Runner, plain_registry: Registry, arguments: tuple[str, ...]
) -> None:
    """Who reads an answer through `head` has what they wanted; a part of an archive is nothing."""
    reader, writer = os.pipe()
    os.close(reader)
    done = run("--insecure", plain_registry.reference("docker"), *arguments, stdout=writer)
    os.close(writer)
    if "-o" in arguments:
        error = error_of(done, 7)
        assert "cannot write standard output: Broken pipe\n  the program that reads it" in error
    else:
        assert (done.returncode, done.stderr) == (7, "")


def redirected(
    redirection: str, *command: str, folder: Path, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command with its streams led elsewhere by a shell; its home is the folder."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command],
        cwd=cwd,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("redirection", ["| cat", "> file"])
def test_another_name_of_standard_output(tmp_path: Path, redirection: str) -> None:
    """An archive gets its name when it is complete: it would be that of all other programs."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    words = ["--insecure", "x.test/x", "-o", "stdout"]
    done = redirected(redirection, *COMMAND, *words, folder=tmp_path, cwd=tmp_path)
    assert done.stdout == ""
    assert done.stderr == "dockersave: error: stdout is standard output\n  write -o -\n"
    assert (tmp_path / "stdout").is_symlink()


_BARE = """import os, runpy, sys
os.devnull = "/nowhere/null"
runpy.run_module("dockersave", run_name="__main__")"""


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 7, "No space left"),
        (">&-", 7, "is closed"),
        ("<&-", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full 2>&1", 7, ""),
        ("| :", 0, ""),
    ],
)
def test_streams_that_fail_in_a_root_without_dev(
    tmp_path: Path, redirection: str, code: int, said: str
) -> None:
    """Nothing of it may need /dev/null."""
    command = [sys.executable, "-c", _BARE, "--licenses"]
    done = redirected(redirection, *command, folder=tmp_path, cwd=ROOT)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_reads_standard_error(plain_registry: Registry, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for kind in ("plain", "bar", "json"):
        done = subprocess.run(
            [*COMMAND, "--insecure", plain_registry.reference("docker"), "--progress", kind],
            cwd=tmp_path,
            env=environment(tmp_path),
            stderr=writer,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, "that nobody listens is no reason to give up"
    os.close(writer)
    assert (tmp_path / "docker-latest.tar").exists()


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "xx_XX.nonsense"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "NO_COLOR": "1"},
        {"COLUMNS": "nonsense", "LANGUAGE": "de"},
    ],
)
def test_odd_locales(run: Runner, plain_registry: Registry, env: Mapping[str, str]) -> None:
    done = run("--insecure", plain_registry.reference("docker"), "--metadata", env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schemaVersion"] == 2
    done = run("--insecure", "--progress", "bar", plain_registry.reference("docker"), env=env)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


_MODULE = "import sys; from dockersave.cli import main; sys.exit(main())"


def test_no_home_no_environment(plain_registry: Registry, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MODULE, "--insecure", plain_registry.reference("docker")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_threads_there_is_one_connection(tmp_path: Path, plain_registry: Registry) -> None:
    """Such limits do not apply to root, so Python is told that there are no threads."""
    script = (
        "import sys, threading\n"
        'def refuse(self): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = refuse\n"
        "from dockersave.cli import main\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--insecure", plain_registry.reference("docker")],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "docker-latest.tar").exists()


def test_a_file_size_limit_is_an_error_not_a_crash(
    run: Runner, plain_registry: Registry, tmp_path: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = run("--insecure", plain_registry.reference("docker"), preexec_fn=limit)
    error = error_of(done, 7)
    assert "too large" in error.lower()
    assert "ulimit -f" in error
    assert not (tmp_path / "docker-latest.tar").exists()


def test_openssl_configured_to_do_nothing(
    run: Runner, tls_registry: Registry, tmp_path: Path
) -> None:
    """Trying again cannot mend it."""
    (tmp_path / "openssl.cnf").write_text(
        "openssl_conf = a\n[a]\nproviders = b\n[b]\nc = d\n[d]\nmodule = /none\nactivate = 1\n"
    )
    env = {"OPENSSL_CONF": str(tmp_path / "openssl.cnf")}
    error = error_of(run("--sha", tls_registry.reference("docker"), env=env), 5)
    assert "cannot do TLS (library has no ciphers)" in error
    assert "OPENSSL_CONF" in error


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (MemoryError(), "there is not enough memory\n  use fewer --jobs"),
        (ImportError("a.so: failed to map segment from shared object"), "not enough memory\n"),
        (LookupError("unknown encoding: idna"), "not enough memory\n"),
        (RuntimeError("odd"), "RuntimeError: odd\n  this is a bug"),
    ],
)
def test_what_nobody_foresees(
    failure: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """When memory runs out depends on the Python version, so this is simulated."""

    def fail(_: Run) -> None:
        raise failure

    monkeypatch.setattr(Run, "run", fail)
    assert main(["debian"]) == 1
    assert said in capsys.readouterr().err


def test_the_process_ends_at_once(tmp_path: Path) -> None:
    """Without taking the interpreter apart, while a thread may still wait for a name server."""
    script = "\n".join(
        [
            "import atexit, runpy, sys",
            "atexit.register(print, 'taken apart')",
            "sys.argv = ['dockersave', '--sha']",
            "runpy.run_module('dockersave', run_name='__main__')",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
