"""The README's promises: its examples run, its tables agree with the program and its documents."""

from __future__ import annotations

import doctest
import os
import re
import tarfile
from pathlib import Path

import pytest

import dockersave
from dockersave.cli.guides import topics
from tests.conftest import Shell
from tests.documents import ROOT, blocks, documents
from tests.internet import Internet
from tests.registry.real import Registry

FILE = ROOT / "README.md"
README = FILE.read_text(encoding="utf-8")
MAKEFILES = "".join(path.read_text() for path in (ROOT / "Makefile", *ROOT.glob("build/*.mk")))
DOCUMENTS = documents()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _examples() -> list[str]:
    (text,) = blocks(FILE, "sh", "Examples")
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
    make, save = blocks(FILE, "sh", "Quick start")
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
    text = "".join(blocks(FILE, "python"))
    test = doctest.DocTestParser().get_doctest(text, {}, "README", "README.md", 0)
    out: list[str] = []
    results = doctest.DocTestRunner().run(test, out=out.append)
    assert results.failed == 0, "".join(out)
    assert results.attempted == 3


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 220
    assert 8 <= len(_examples()) <= 12


def test_the_exit_codes_are_those_of_the_failures() -> None:
    rows = dict(re.findall(r"^\| (\d) \| (.*?) \|$", README, re.MULTILINE))
    families = [
        value
        for value in (getattr(dockersave, name) for name in dockersave.__all__)
        if isinstance(value, type) and issubclass(value, dockersave.DockersaveError)
    ]
    codes = {each.exit_code for each in families if each.exit_code < 128}
    assert {int(code) for code in rows} == codes | {0}


def test_the_guides_are_linked() -> None:
    for topic in topics():
        assert f"| [{topic}](dockersave/help/{topic}.md) | `dockersave --help {topic}` |" in README


def test_what_is_claimed_to_be_tested_is() -> None:
    (section,) = re.findall(r"^## Security\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    named = [
        path for group in re.findall(r"\((`[^)]*/[^)]*`)\)", section) for path in group.split(", ")
    ]
    assert len(named) > 7
    for path in named:
        assert (ROOT / path.strip("`")).exists(), path


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_what_make_can_do_is_there(path: Path) -> None:
    for target in re.findall(r"\bmake ([a-z][a-z-]+)", path.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", MAKEFILES, re.MULTILINE), target


def test_ci_runs_the_commands_of_the_readme() -> None:
    steps = re.findall(r"^step ([a-z-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    (listed,) = blocks(FILE, "text", "Building and testing")
    assert steps
    assert set(steps) <= set(re.findall(r"^make ([a-z-]+)", listed, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_the_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif "://" not in link:
            assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_nothing_is_too_wide(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        assert len(line) <= 125 or line.startswith(("|", "Kinds of", "Measured on")), line


def test_the_files_of_the_picture_exist() -> None:
    document = ROOT / "dockersave" / "README.md"
    picture = next(block for block in blocks(document, "text") if block.startswith("dockersave/\n"))
    named = set(re.findall(r"[a-z_]+\.py", picture))
    assert named, "the picture names files"
    for name in named:
        assert list((ROOT / "dockersave").rglob(name)), name
    files = {file.name for file in (ROOT / "dockersave").glob("*.py")} - {"__main__.py"}
    assert files <= named, f"not in the picture: {files - named}"


def test_the_quirks_that_are_recorded_are_listed() -> None:
    text = (ROOT / "dockersave" / "registry" / "README.md").read_text(encoding="utf-8")
    recorded = sorted((ROOT / "tests" / "registry" / "recorded").glob("*.json"))
    assert recorded
    for file in recorded:
        assert f"`{file.stem}`" in text, file.stem


def test_the_working_directory_of_the_tests_is_left_alone() -> None:
    assert not [name for name in os.listdir(ROOT) if name.endswith((".tar", ".part"))]
