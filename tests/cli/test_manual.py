"""The man page and the completions: made from the parser, read by groff and by the real shells."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dockersave.cli.guides import markdown, topics
from dockersave.cli.option_table import OPTIONS, PROGRESS
from dockersave.model.formats import every_format
from tests.cli.terminal import Terminal
from tests.processes import program

ROOT = Path(__file__).parent.parent.parent
NAMES = {word for group in OPTIONS.values() for names, _, _ in group for word in names.split()}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with what `make manual` writes, and files to complete."""
    folder = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, "build/manual.py", folder], cwd=ROOT, check=True)
    (folder / "here").mkdir()
    (folder / "here" / "archive.tar").touch()
    (folder / "here" / "directory").mkdir()
    return folder


def run(share: Path, *command: str) -> str:
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        cwd=share / "here",
        env={"PATH": os.environ["PATH"], "HOME": str(share), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("topic", topics())
def test_the_man_page_of_a_guide(share: Path, topic: str) -> None:
    file = str(share / f"man/man7/dockersave-{topic}.7")
    plain = re.sub(".\b", "", run(share, "groff", "-man", "-Tutf8", "-ww", "-P-c", file))
    guide = markdown(topic)
    for heading in re.findall(r"^## (.*)$", guide, re.MULTILINE):
        assert re.search(rf"^{re.escape(heading)}$", plain.replace("‐", "-"), re.M), heading
    for block in re.findall(r"^```\w+\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE):
        for line in filter(str.strip, block.splitlines()):
            assert re.search(rf"^ +{re.escape(line.rstrip())}$", plain, re.M), "can be copied"
    words = re.sub(r"```.*?```|[`*#\s]|^- ", "", guide, flags=re.DOTALL | re.MULTILINE)
    assert words[-40:] in re.sub(r"[•\s]", "", plain.replace("‐\n", "")), "to its end"


def test_the_man_page(share: Path) -> None:
    file = str(share / "man/man1/dockersave.1")
    text = run(share, "groff", "-man", "-Tascii", "-ww", "-P-c", file)
    plain = re.sub(".\b", "", text)
    for name in NAMES:
        assert re.search(rf"^ +(-\w, )?{name}\b", plain, re.MULTILINE), name
    for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "FILES", "EXAMPLES"):
        assert re.search(rf"^{section}$", plain, re.MULTILINE), section
    assert "dockersave alpine:3.20 -o - | docker load" in plain, "copied, it can be run"
    for variable in ("DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "HTTPS_PROXY", "TERM"):
        assert re.search(rf"^ +{variable}\b", plain, re.MULTILINE), variable


@pytest.mark.parametrize("breaks", [r"$' \t\n\"\'@><=;|&(:'", r"$' \t\n\"\'><;|&('"])
def test_bash(share: Path, breaks: str) -> None:
    """By default, and for users who have removed =, : and @."""
    file = share / "bash-completion/completions/dockersave"

    def complete(*words: str) -> set[str]:
        split = [
            part
            for word in words
            for part in (re.split("([@=])", word) if "=" in breaks else [word])
            if part or not word
        ]
        line = shlex.quote(f"dockersave {' '.join(words)}")
        script = f"""
            source {file}
            COMP_WORDBREAKS={breaks} COMP_LINE={line}
            COMP_WORDS=(dockersave "$@") COMP_CWORD=$#
            COMP_POINT=${{#COMP_LINE}}
            $(complete -p dockersave | sed 's/.*-F \\([^ ]*\\).*/\\1/') dockersave
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        return set(run(share, "bash", "--norc", "-c", script, "bash", *split).split())

    assert complete("--") == {name for name in NAMES if name.startswith("--")}
    assert complete("--platf") == {"--platform", "--platforms"}
    assert complete("--format", "") == set(every_format())
    assert complete("--progress", "p") == {"plain"}
    assert complete("--help", "") == set(topics())
    assert "archive.tar" in complete("--verify", "arch")
    assert complete("--working-dir", "") == {"directory"}
    whole = "=" not in breaks
    assert complete("--format=") == {
        f"--format={each}" if whole else each for each in every_format()
    }
    assert complete("--xz", "--format=leg") == {"--format=legacy" if whole else "legacy"}
    assert complete("--verify=arch") == {"--verify=archive.tar" if whole else "archive.tar"}
    assert complete("--format=oci", "--progress=js") == {"--progress=json" if whole else "json"}
    assert complete("--format=oci", "--platf") == {"--platform", "--platforms"}
    assert complete("-o", "x.tar", "@arch") == {"@archive.tar"}
    assert "archive.tar" not in complete("debian@arch"), "that is a digest"


def test_bash_as_somebody_types(share: Path) -> None:
    """In a real, interactive bash: only there it is known what readline replaces."""
    env = {"PATH": os.environ["PATH"], "HOME": str(share), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    shell = Terminal(share / "here", [program("bash"), "--norc", "-i"], env)
    with closing(shell):
        shell.type(f"PS1=; source {share}/bash-completion/completions/dockersave\n")
        shell.type("dockersave() { echo \"<$*>\"; }; echo re''ady\n")
        shell.read_until("ready\r\n")
        for line, expected in (
            ("--format=leg", "<--format=legacy>"),
            ("--verify=arch", "<--verify=archive.tar>"),
            ("-o x.tar @arch", "<-o x.tar @archive.tar>"),
            ("--working-dir=dir", "<--working-dir=directory/>"),
        ):
            shell.type(f"dockersave {line}\t\n")
            shell.read_until(expected)
        shell.type("exit\n")
        assert shell.wait() == 0


def test_fish(share: Path) -> None:
    file = share / "fish/vendor_completions.d/dockersave.fish"

    def complete(line: str) -> set[str]:
        out = run(share, "fish", "--no-config", "-c", f"source {file}; complete -C '{line}'")
        return {each.split("\t")[0] for each in out.splitlines()}

    assert complete("dockersave --") == {name for name in NAMES if name.startswith("--")}
    assert complete("dockersave --format ") == set(every_format())
    assert complete("dockersave --progress ") == set(PROGRESS)
    assert complete("dockersave --help ") >= set(topics())
    assert "archive.tar" in complete("dockersave --verify arch")
    assert complete("dockersave --format=leg") == {"--format=legacy"}
    assert complete("dockersave --verify=arch") == {"--verify=archive.tar"}
    assert complete("dockersave -o x.tar --working-dir=dir") == {"--working-dir=directory/"}
    assert complete("dockersave -o x.tar @arch") == {"@archive.tar"}
    assert "@archive.tar" not in complete("dockersave debian@arch"), "that is a digest"


def test_zsh(share: Path) -> None:
    """In a real, interactive zsh: nothing else loads its completion system."""
    env = {"PATH": os.environ["PATH"], "HOME": str(share), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    shell = Terminal(share / "here", [program("zsh"), "-f", "-i"], env)
    folder = share / "zsh/site-functions"
    with closing(shell):
        shell.type(f"PROMPT=; fpath=({folder} $fpath); autoload -U compinit; compinit -u -D\n")
        shell.type("LISTMAX=999; dockersave() { print -r -- \"<$*>\" }; echo re''ady\n")
        shell.read_until("ready")
        for line, expected in (
            ("--tarn", "<--tarname>"),
            ("--format leg", "<--format legacy>"),
            ("--help trou", "<--help troubleshooting>"),
            ("--format=leg", "<--format=legacy>"),
            ("--verify=arch", "<--verify=archive.tar>"),
            ("--output=arch", "<--output=archive.tar>"),
            ("-o arch", "<-o archive.tar>"),
            ("--working-dir=dir", "<--working-dir=directory"),
            ("--verify arch", "<--verify archive.tar>"),
            ("--working-dir dir", "<--working-dir directory"),
            ("-o x.tar @arch", "<-o x.tar @archive.tar>"),
        ):
            shell.type(f"dockersave {line}\t\n")
            shell.read_until(expected)
        shell.type("dockersave --format \t\t")
        for name in every_format():
            shell.read_until(name)
        shell.type("\x15exit\n")
        assert shell.wait() == 0


def test_make_knows_the_files(share: Path) -> None:
    written = {str(file.relative_to(share)) for file in share.rglob("*") if file.is_file()}
    written = {name for name in written if not name.startswith(("here/", ".", "zcomp"))}
    named = subprocess.run(
        ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "print"],
        input="print:\n\t@echo $(MANUAL)\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(named.stdout.split()) == {name for name in written if "dockersave" in name}
    assert shutil.which("groff")
