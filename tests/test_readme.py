"""The README's promises: its examples run, its tables agree with the program."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dockersave
from dockersave.cli.page import OPTIONS, page
from dockersave.progress.jsonlines import __doc__ as json_schema
from tests.engines.docker import Docker
from tests.internet import Internet, environment
from tests.processes import scratch
from tests.registry.real import Registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
Shell = Callable[[str], "subprocess.CompletedProcess[str]"]


def blocks(language: str, heading: str = "") -> list[str]:
    """The code blocks of a language below a heading (all of them if none is given)."""
    found: list[str] = []
    inside, current = None, ""
    for line in README.splitlines(keepends=True):
        if line.startswith("```"):
            inside = line[3:].strip() if inside is None else None
            wanted = inside == language and heading in ("", current)
            found += [""] * wanted
        elif inside is None and line.startswith("## "):
            current = line[3:].strip()
        elif inside is not None and wanted:
            found[-1] += line
    return found


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    """Return where a real dockerd listens."""
    folder = scratch("readme")
    judge = Docker(folder)
    yield f"unix://{judge.socket}"
    judge.close()
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def shell(internet: Internet, plain_registry: Registry, tmp_path: Path) -> Shell:
    """Return what runs a script as somebody would who has installed the command."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "dockersave"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dockersave "$@"\n')
    command.chmod(0o755)
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/root"\nrunroot = "{tmp_path}/run"\n'
    )
    env = environment(internet, tmp_path) | {
        "CONTAINERS_STORAGE_CONF": str(storage),
        "TOKEN": "canary-token",
    }
    env["PATH"] = f"{programs}:{env['PATH']}"

    def run(script: str) -> subprocess.CompletedProcess[str]:
        script = script.replace("localhost:5000", plain_registry.host)
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            cwd=work,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def _examples() -> list[str]:
    (text,) = blocks("sh", "Examples")
    return text.strip().split("\n\n")


def _with_docker(script: str, host: str) -> str:
    return f"export DOCKER_HOST={host}\n{script}"


@pytest.mark.parametrize("number", range(len(_examples())))
@pytest.mark.engines
def test_an_example(
    shell: Shell,
    docker_host: str,
    number: int,
    registries: object,
    plain_registry: Registry,
    tmp_path: Path,
) -> None:
    example = _examples()[number]
    if "debian.tar" in example and "-o debian.tar" not in example:
        shell("dockersave debian:12 -o debian.tar")
    done = shell(
        _with_docker(example, docker_host).replace("localhost:5000/app", "localhost:5000/docker")
    )
    assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
    assert "canary-token" not in done.stdout + done.stderr
    for name in re.findall(r"-o (\S+\.tar)\b(?!\.)", example):
        with tarfile.open(tmp_path / "work" / name) as archive:
            assert archive.getnames(), name


@pytest.mark.engines
def test_the_quick_start(shell: Shell, docker_host: str) -> None:
    make, save = blocks("sh", "Quick start")
    targets = re.findall(r"^make ([a-z-]+)", make, re.MULTILINE)
    assert targets == ["demo", "install"]
    done = shell(_with_docker(save, docker_host))
    assert done.returncode == 0, done.stderr
    assert "Loaded image: debian:latest" in done.stdout
    assert "unchanged" in shell("dockersave debian").stderr, "and what it says of a second run"


def test_the_module(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in internet.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    text = "".join(blocks("python", "As a Python module"))
    test = doctest.DocTestParser().get_doctest(text, {}, "README", "README.md", 0)
    out: list[str] = []
    results = doctest.DocTestRunner().run(test, out=out.append)
    # The timer of the example is not awaited by anybody.
    test.globs.get("deadline") and test.globs["deadline"].cancel()
    assert results.failed == 0, "".join(out)
    assert results.attempted > 10


def test_the_login_example(shell: Shell, tmp_path: Path) -> None:
    for script in blocks("sh", "Registries and credentials"):
        done = shell(script)
        assert done.returncode == 0, done.stderr
        assert "canary-token" not in done.stdout + done.stderr


def test_the_init_script(shell: Shell, tmp_path: Path) -> None:
    (script,) = (block for block in blocks("sh") if block.startswith("#!/bin/sh\n# /etc/init.d"))
    script = script.replace("/srv/images", str(tmp_path)).replace("--wait 120", "--retries 0")
    file = tmp_path / "images"
    file.write_text(script)
    file.chmod(0o755)
    assert shell(f"{file} stop").returncode == 0
    assert shell(f"{file} nonsense").returncode == 2
    assert shell(f"HTTPS_PROXY=http://127.0.0.1:1 {file} start").returncode == 1, "nothing there"
    assert shell(f"{file} start").returncode == 0
    archive = (tmp_path / "app.tar").read_bytes()
    assert shell(f"HTTPS_PROXY=http://127.0.0.1:1 {file} start").returncode == 0, "yesterday's"
    assert (tmp_path / "app.tar").read_bytes() == archive
    assert file.stat().st_mode & stat.S_IXUSR


def test_the_systemd_unit(shell: Shell, tmp_path: Path) -> None:
    (unit,) = (block for block in blocks("ini") if "[Service]" in block)
    command = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)[0]
    assert command.startswith("/usr/local/bin/dockersave ")
    done = shell(command.removeprefix("/usr/local/bin/").replace("/srv/images", str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app.tar").exists()
    codes = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)[0].split()
    assert codes == ["2", "3", "4", "6"], "what trying again cannot mend"


def test_the_options_are_the_help_page() -> None:
    assert f"```text\n{page().rstrip()}\n```" in README


def test_every_option_that_is_mentioned_exists() -> None:
    known = {word for group in OPTIONS.values() for names, _, _ in group for word in names.split()}
    text = re.sub(r"^.*?(skopeo|pip|make|nginx|mypy|docker run).*$", "", README, flags=re.MULTILINE)
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert mentioned <= known, mentioned - known


def test_the_exit_codes_are_those_of_the_failures() -> None:
    rows = dict(re.findall(r"^\| (\d) \| (.*?) \|$", README, re.MULTILINE))
    classes = [
        value
        for value in (getattr(dockersave, name) for name in dockersave.__all__)
        if isinstance(value, type) and issubclass(value, dockersave.DockersaveError)
    ]
    codes = {each.exit_code for each in classes if each.exit_code < 128}
    assert {int(code) for code in rows} == codes | {0}
    for each in classes:
        assert f"`{each.__name__}`" in README


def test_the_json_events_are_documented() -> None:
    assert json_schema
    in_the_code = set(re.findall(r'"event": "(\w+)"', json_schema))
    assert in_the_code == set(re.findall(r"^\| `(\w+)` \| (?:`|the same)", README, re.MULTILINE))


def test_the_files_of_the_picture_exist() -> None:
    picture = next(block for block in blocks("") if block.startswith("dockersave/\n"))
    named = set(re.findall(r"[a-z_]+\.py", picture))
    assert named, "the picture names files"
    for name in named:
        assert list((ROOT / "dockersave").rglob(name)), name
    files = {file.name for file in (ROOT / "dockersave").glob("*.py")} - {"__main__.py"}
    assert files <= named, f"not in the picture: {files - named}"


def test_what_make_can_do_is_there() -> None:
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "build/static.mk").read_text()
    for target in re.findall(r"\bmake ([a-z][a-z-]+)", README):
        assert re.search(rf"^{target}:", makefiles, re.MULTILINE), target


def test_the_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", README):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif "://" not in link:
            assert (ROOT / link).exists(), link


def test_nothing_is_too_wide() -> None:
    for line in README.splitlines():
        assert len(line) <= 125 or line.startswith(("|", "Kinds of")) or "ExecStart" in line, line


def test_the_working_directory_of_the_tests_is_left_alone() -> None:
    assert not [name for name in os.listdir(ROOT) if name.endswith((".tar", ".part"))]
