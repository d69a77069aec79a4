"""Which part of the package may import which. No import runs back up."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dockersave
from tests.registry.real import Registry

ROOT = Path(dockersave.__file__).parent

GROUND = (
    *("errors", "files", "spelling", "limits", "units", "cancellation", "progress", "trace"),
    *("retry_policy", "budget", "compression", "locks", "parallel", "pipes", "values"),
)
"""Modules next to the folders, used by all of them. They import only each other."""

MAY_IMPORT = {
    "model": (),
    "signatures": ("model",),
    "archive": ("model",),
    "archive.formats": ("archive", "model"),
    "archive.read": ("archive", "archive.formats", "model", "signatures"),
    "archive.write": ("archive", "archive.formats", "archive.read", "model"),
    "registry.concealing": (),
    "registry.connections": ("model", "registry.concealing"),
    "registry.credentials": ("model", "registry.concealing", "registry.connections"),
    "registry": (
        *("model", "registry.concealing", "registry.connections", "registry.credentials"),
    ),
    "rootfs": ("archive", "archive.read"),
    "transfer": ("archive", "archive.read", "model"),
    "resolving": (
        *("archive.read", "model", "registry", "registry.credentials", "signatures", "transfer"),
    ),
    "saving": (
        *("archive", "archive.formats", "archive.read", "archive.write", "model"),
        *("resolving", "rootfs", "signatures", "transfer"),
    ),
    "cli.console": ("archive.read", "model", "saving"),
    "cli": ("archive.read", "cli.console", "model", "resolving", "saving", "signatures"),
}
"""Each folder, and the folders that its modules may import in addition to its own and the
ground."""


def arrows() -> Iterator[tuple[str, str]]:
    """Every import of the package's own modules, as (importing, imported), for types too."""
    modules = {_name(path): path for path in ROOT.rglob("*.py")}
    for name, path in modules.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) + 1 - node.level]
                home = ".".join([*base, *filter(None, [node.module])])
                for alias in node.names:
                    inner = f"{home}.{alias.name}"
                    yield name, inner if inner in modules else home


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _place(module: str) -> str:
    """The folder of a module; for modules next to the folders, the module's name."""
    inner = module.removeprefix("dockersave").strip(".")
    while inner and not (ROOT / inner.replace(".", "/")).is_dir():
        if "." not in inner:
            return inner
        inner = inner.rpartition(".")[0]
    return inner


def test_no_import_runs_back_up() -> None:
    wrong = []
    seen = set()
    for importing, imported in arrows():
        start, end = _place(importing), _place(imported)
        if start in ("", "__main__", end) or not end:
            continue  # the package's face, and the version that it tells
        seen.add(start)
        allowed = MAY_IMPORT.get(start, ())
        if end not in GROUND and end not in allowed:
            wrong.append(f"{importing} imports {imported}")
    assert not wrong
    assert seen >= set(MAY_IMPORT) - {"model"}


def test_the_table_has_every_folder() -> None:
    folders = {_place(_name(path)) for path in ROOT.rglob("*.py")}
    assert folders - set(GROUND) - {"", "__main__"} == set(MAY_IMPORT)


_WORKING = ("dockersave.registry", "dockersave.transfer", "dockersave.saving")


def loaded(*arguments: str) -> set[str]:
    """The modules that a run of the command loads."""
    program = (
        "import sys; from dockersave.cli import main; main(sys.argv[1:]);"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, *arguments]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())


def test_help_loads_no_network() -> None:
    modules = loaded("--help")
    assert "dockersave.cli.option_table" in modules
    assert not {"socket", "ssl", "urllib3", "argparse"} & modules
    assert not [each for each in modules if each.startswith(_WORKING)]


def test_tags_load_no_engine(plain_registry: Registry) -> None:
    modules = loaded("--tags", "--insecure", f"{plain_registry.host}/docker")
    assert "dockersave.registry.tags" in modules
    assert not {"dockersave.transfer.ledger", "dockersave.saving.job"} & modules
    assert not [each for each in modules if each.startswith("dockersave.archive.write")]


NEVER = {
    *("dataclasses", "inspect"),
    *("asyncio", "importlib.metadata"),
    *(
        "dockersave.registry.tags",
        "dockersave.registry.credentials.helpers",
        "dockersave.registry.credentials.challenge",
    ),
    *("dockersave.transfer.window", "dockersave.transfer.unpacking", "dockersave.saving.forecast"),
    *("dockersave.archive.formats.legacy", "dockersave.cli.console.bar"),
    *("dockersave.archive.write.directory", "dockersave.archive.write.ordered"),
    *("dockersave.resolving.trust", "dockersave.registry.attached", "dockersave.signatures.keys"),
}
"""What a save of a usual image from a registry that asks for nothing does not need."""

LATER = {
    *("tarfile", "dockersave.transfer.ledger", "dockersave.transfer.workers"),
    *("dockersave.archive.write.file", "dockersave.archive.read.reader"),
}
"""What it needs, but not before the first request."""


def options_for(registry: Registry) -> tuple[str, ...]:
    return ("--ca-file", str(registry.ca_file)) if registry.tls else ("--insecure",)


def test_a_save_loads_no_more_than_it_uses(
    plain_registry: Registry, tls_registry: Registry, tmp_path: Path
) -> None:
    for registry in (plain_registry, tls_registry):
        output = str(tmp_path / f"{registry.port}.tar")
        modules = loaded("-q", *options_for(registry), "-o", output, f"{registry.host}/docker")
        assert modules >= LATER
        assert sorted(NEVER & modules) == []


def test_events_as_json_load_no_more(plain_registry: Registry, tmp_path: Path) -> None:
    output = str(tmp_path / "a.tar")
    image = f"{plain_registry.host}/docker"
    modules = loaded("--progress", "json", "--insecure", "-o", output, image)
    assert "dockersave.cli.console.jsonlines" in modules
    assert sorted(NEVER & modules) == []


CONNECTING = """
import os, sys
from dockersave.cli import main
def hear(event, arguments):
    if event == "socket.connect":
        os.write(2, "\\n".join(sys.modules).encode())
        os._exit(0)
sys.addaudithook(hear)
main(sys.argv[1:])
sys.exit("no connection was made")
"""


def test_a_registry_is_asked_before_the_rest_is_loaded(
    plain_registry: Registry, tls_registry: Registry, tmp_path: Path
) -> None:
    for registry in (plain_registry, tls_registry):
        words = ["-q", *options_for(registry), "-o", "a.tar", f"{registry.host}/docker"]
        command = [sys.executable, "-c", CONNECTING, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        modules = set(done.stderr.split())
        assert "dockersave.registry.client" in modules
        assert sorted((NEVER | LATER) & modules) == []
