"""The guides of `dockersave --help TOPIC`: what they show runs, what they name exists."""

from __future__ import annotations

import ast
import doctest
import re
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import dockersave
from dockersave.cli import guides, main
from dockersave.cli.arguments import check, parser
from dockersave.cli.console.jsonlines import __doc__ as json_schema
from dockersave.cli.console.spelling import as_typed
from dockersave.cli.guides import guide, subject, topics
from dockersave.cli.option_table import page
from dockersave.errors import DockersaveError, UsageError
from dockersave.limits import KIB
from dockersave.spelling import argument
from tests.conftest import Shell
from tests.documents import GUIDES, NAMES, ROOT, blocks, commands, documents, options
from tests.internet import Internet
from tests.signatures.keyring import public
from tests.signatures.maker import KIND

HELP = ROOT / "dockersave" / "help"


def text_of(topic: str) -> str:
    return (HELP / f"{topic}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["--insecure", "--help"]])
@pytest.mark.parametrize("topic", topics())
def test_a_guide_is_shown(
    words: list[str], topic: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main([*words, topic]) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode() == guide(topic)
    assert not err


def test_a_topic_takes_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "games.md").write_text("# Play at work\n\nNot yet.\n")
    monkeypatch.setattr(guides, "_FOLDER", str(tmp_path))
    assert "  games             play at work" in page().splitlines()
    assert main(["--help", "games"]) == 0
    assert "Not yet." in capfd.readouterr().out
    assert main(["--help", "boot"]) == UsageError.exit_code


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_an_unknown_topic(word: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([word, "boots"]) == UsageError.exit_code
    first = capfd.readouterr().err.splitlines()[0]
    assert "'boots'" in first
    assert first.endswith(", ".join(topics()))


def test_the_page_names_the_topics(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert capfd.readouterr().out == page()
    for topic in topics():
        assert re.search(rf"^  {topic} +{re.escape(subject(topic))}$", page(), re.MULTILINE)


@pytest.mark.parametrize("topic", topics())
def test_no_guide_loads_the_network(topic: str) -> None:
    script = (
        "import sys; from dockersave.cli import main; main(['--help', sys.argv[1]]);"
        "print(*sys.modules, file=sys.stderr)"
    )
    run = [sys.executable, "-c", script, topic]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"argparse", "urllib3", "ssl", "socket", "tarfile"} & set(done.stderr.split())


@pytest.mark.parametrize("topic", topics())
def test_a_guide_fits_a_terminal(topic: str) -> None:
    shown = guide(topic)
    assert max(map(len, shown.splitlines())) <= 80
    assert "```" not in shown
    assert "|--" not in shown, "a table is not read easily there"
    assert text_of(topic).startswith("# ")


def test_the_guides_are_small_enough_for_the_binary() -> None:
    together = b"".join(path.read_bytes() for path in GUIDES)
    assert len(zlib.compress(together, 9)) <= 12 * KIB


def test_the_topics_are_the_files() -> None:
    assert {path.name for path in HELP.iterdir()} == {f"{topic}.md" for topic in topics()}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_that_is_named_exists(path: Path) -> None:
    known = NAMES | {"--install"}  # the static binary's launcher has this one
    assert options(path) <= known, options(path) - known


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_can_be_typed(path: Path) -> None:
    for words in commands(path):
        arguments = parser().read(words)
        if not arguments.help:
            check(arguments)


def test_that_commands_are_found() -> None:
    found = {path.stem: commands(path) for path in GUIDES}
    assert ["alpine:3.20", "-o", "-"] in found["formats"], "a pipe ends it"
    assert ["--sha", "debian:12"] in found["airgap"]
    assert any("--wait" in words for words in found["boot"]), "of the systemd unit"
    assert ["--help", "formats"] in found["boot"], "in a sentence"


def _scripts(topic: str) -> str:
    """The blocks of a guide that can be run as they are, one after another."""
    found = [block for block in blocks(HELP / f"{topic}.md", "sh") if not block.startswith("#!")]
    return "\n".join(found)


@pytest.mark.engines
@pytest.mark.parametrize("topic", ["boot", "registries", "signatures", "formats", "airgap"])
def test_the_commands_of_a_guide(
    shell: Shell, docker_host: str, registries: object, tmp_path: Path, topic: str
) -> None:
    script = _scripts(topic).replace("/var/lib/rancher", str(tmp_path))
    done = shell(f"export DOCKER_HOST={docker_host}\n{script}")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "canary-token" not in done.stdout + done.stderr
    if topic == "airgap":
        digests = re.findall(r"^sha256:\w+$", done.stdout, re.MULTILINE)
        assert len(digests) == 2
        assert len(set(digests)) == 1, "the image is at the site what it was before"


def test_the_module(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in internet.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cosign.pub").write_bytes(public(KIND))
    text = "".join(blocks(HELP / "module.md", "python"))
    test = doctest.DocTestParser().get_doctest(text, {}, "module", "module.md", 0)
    out: list[str] = []
    results = doctest.DocTestRunner().run(test, out=out.append)
    # The timer of the example is not awaited by anybody.
    test.globs.get("deadline") and test.globs["deadline"].cancel()
    assert results.failed == 0, "".join(out)
    assert results.attempted > 10


def test_the_init_script(shell: Shell, tmp_path: Path) -> None:
    (script,) = (block for block in blocks(HELP / "boot.md", "sh") if block.startswith("#!/bin/sh"))
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
    (unit,) = blocks(HELP / "boot.md", "ini")
    command = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)[0]
    assert command.startswith("/usr/local/bin/dockersave ")
    done = shell(command.removeprefix("/usr/local/bin/").replace("/srv/images", str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app.tar").exists()
    codes = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)[0].split()
    assert codes == ["2", "3", "4", "6", "8"], "what retrying cannot mend"


def families() -> list[type[DockersaveError]]:
    every = (getattr(dockersave, name) for name in dockersave.__all__)
    return [each for each in every if isinstance(each, type) and issubclass(each, DockersaveError)]


def test_each_exit_code_has_its_section() -> None:
    codes = set(re.findall(r"^## Exit code (\d)", text_of("troubleshooting"), re.MULTILINE))
    assert codes == {str(each.exit_code) for each in families() if each.exit_code < 128}


def test_each_exception_is_named_with_its_code() -> None:
    text = " ".join(text_of("module").split())
    for each in families():
        assert f"`{each.__name__}`" in text
        if each not in (dockersave.DockersaveError, dockersave.SaveFailures):
            assert f"`{each.__name__}` ({each.exit_code})" in text


def test_the_json_events_are_described() -> None:
    assert json_schema
    in_the_code = set(re.findall(r'"event": "(\w+)"', json_schema))
    assert in_the_code == set(re.findall(r"^- `(\w+)`[:,]", text_of("module"), re.MULTILINE))
    for key in re.findall(r'"(\w+)":', json_schema):
        assert key == "event" or f"`{key}`" in text_of("module"), key


def _said() -> Iterator[str]:
    """Every text in the sources; what is filled in is a line feed."""
    for path in [*(ROOT / "dockersave").rglob("*.py"), ROOT / "build" / "frozen.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(map(_filled_in, node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    for path in (ROOT / "build" / "launcher").glob("*.c"):
        yield path.read_text(encoding="utf-8")


def _filled_in(part: ast.expr) -> str:
    value = getattr(part, "value", None)
    if isinstance(value, ast.Call) and ast.unparse(value).startswith("argument('"):
        # A value that is not known here is left out.
        known = [each.value for each in value.args if isinstance(each, ast.Constant)]
        return as_typed(argument(*map(str, known)))
    return value if isinstance(value, str) else "\n"


def test_what_is_quoted_is_what_the_program_says() -> None:
    quoted = re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", " ".join(text_of("troubleshooting").split()))
    assert len(quoted) > 25
    said = [text for text in _said() if " " in text or len(text) > 10]
    for quote in quoted:
        for part in filter(None, (part.strip(" ,") for part in quote.split("..."))):
            assert any(part in text for text in said), part
