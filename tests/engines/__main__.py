"""Loads every archive into every engine and writes down what loads where, and what agrees.

python -m tests.engines --table writes it into README.md beside this file, or into another file;
the exit code is 1 if anything is not as expected. A file that has the marks gets the tables between
them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.engines import file_systems
from tests.engines.judge import Judge, Refused
from tests.engines.judges import Judges
from tests.engines.matrix import JUDGES, KINDS, PAIR, Case, cases, limit_of, prepare
from tests.engines.odd_layers import LAYERS
from tests.generated import write_between
from tests.processes import scratch
from tests.registry.real import Registries, Registry

MARK = "what loads where: python -m tests.engines"
FILE_SYSTEMS = "what agrees with whom: python -m tests.engines"
README = Path(__file__).parent / "README.md"


def judge_all(only: str) -> tuple[dict[tuple[Case, str], str], list[str]]:
    """Judge all cases.

    Parameters:
        only: text that a case has to have in its name.

    Returns:
        Per case and judge "" for loaded or the limit's reason, and what was not as expected.
    """
    verdicts: dict[tuple[Case, str], str] = {}
    surprises: list[str] = []
    registries, judges, folder = Registries(), Judges(), scratch("table")
    try:
        registry = prepare(registries)
        for case in cases():
            if only not in str(case):
                continue
            try:
                archive = case.save(registry, folder)
            except AssertionError as error:
                surprises.append(f"{case}: not saved: {error}")
                continue
            for name in JUDGES:
                limit = limit_of(name, judges[name], case)
                verdicts[case, name] = limit.reason if limit else ""
                if wrong := _surprise(judges[name], name, case, archive, registry):
                    surprises.append(f"{case}, {name}: {wrong}")
            print(f"{case}", file=sys.stderr)
    finally:
        judges.close()
        registries.close()
        shutil.rmtree(folder)
    return verdicts, surprises


def judge_file_systems(only: str) -> list[str]:
    """Judge all odd layers; returns what was not as expected.

    Parameters:
        only: text that the layers have to have in their name.
    """
    surprises: list[str] = []
    judges, folder = Judges(), scratch("table")
    try:
        for name in LAYERS:
            if only not in name:
                continue
            with TemporaryDirectory(dir=folder) as place:
                made = file_systems.saved(name, Path(place))
                for engine in file_systems.JUDGES:
                    stated = file_systems.OTHERWISE.get((name, engine))
                    found = file_systems.judged(name, judges[engine], *made)
                    if found != (stated.what if stated else ""):
                        surprises.append(f"{name}, {engine}: other {found or 'nothing'}")
            print(name, file=sys.stderr)
    finally:
        judges.close()
        shutil.rmtree(folder)
    return surprises


def _surprise(judge: Judge, name: str, case: Case, archive: Path, registry: Registry) -> str:
    """Return the differences, or nothing."""
    excluded = limit_of(name, judge, case) is not None
    try:
        if excluded:
            judge.load_and_export(archive)
        else:
            case.check(judge, name, archive, registry)
    except Refused as error:
        return "" if excluded else f"refused: {error}"
    except AssertionError as error:
        return f"loaded, but {error}"
    return "loads, though a limit says that it cannot" if excluded else ""


def table(verdicts: dict[tuple[Case, str], str]) -> str:
    """Return the verdicts as Markdown: a row per format and option, a column per engine."""
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in dict.fromkeys(case for case, _ in verdicts):
        groups[case.format, case.option].append(case)
    notes: dict[str, int] = {}
    rows = []
    for (form, option), members in groups.items():
        cells = [
            f"`--format {form}`, {option}" if option == PAIR else f"`--format {form} {option}`"
        ]
        cells[0] = cells[0].replace(" `", "`")
        for name in JUDGES:
            reasons = [verdicts[case, name] for case in members]
            loaded = reasons.count("")
            marks = "".join(
                f"[^{notes.setdefault(f'{name}: {reason}', len(notes) + 1)}]"
                for reason in dict.fromkeys(filter(None, reasons))
            )
            cells.append(f"{loaded} of {len(members)}{marks}" if loaded else f"no{marks}")
        rows.append(cells)
    head = ["archive", *JUDGES]
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    kinds = ", ".join(kind.title for kind in KINDS.values())
    footnotes = "\n".join(f"[^{number}]: {note}." for note, number in notes.items())
    return f"{text}\n\nKinds of images: {kinds}.\n\n{footnotes}\n"


def main() -> int:
    """Judge, print the differences, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines", description=__doc__)
    parser.add_argument(
        "--table",
        nargs="?",
        metavar="FILE",
        default="-",
        const=README,
        help="where to write it; default: README.md beside this file; - is standard output",
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="cases with this in the name")
    arguments = parser.parse_args()
    verdicts, surprises = judge_all(arguments.only)
    surprises += judge_file_systems(arguments.only)
    text, agreement = table(verdicts), file_systems.table()
    if str(arguments.table) == "-":
        print(f"{text}\n{agreement}")
    else:
        write_between(MARK, text, Path(arguments.table))
        write_between(FILE_SYSTEMS, agreement, Path(arguments.table))
    print("\n".join(surprises), file=sys.stderr)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
