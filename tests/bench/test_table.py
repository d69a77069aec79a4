"""The tables and the chart that the benchmark writes, and where they go."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.__main__ import ALL, LINES
from tests.bench.peers import CURRENT
from tests.bench.rows import Row
from tests.bench.table import chart, lines, markdown
from tests.engines.__main__ import MARK
from tests.generated import write_between

ROOT = Path(__file__).parents[2]
ROWS = [
    Row("near", "crane", 0.13, 1.0, seconds=(18.6, 142.0)),
    Row("near", "oras", 0.20, 1.0, seconds=(18.6, 91.0)),
    Row("far", "oras", 0.22, 1.0, seconds=(39.6, 180.0)),
    Row("20 × 10 MiB", "the floor", 1.2, 1.0),
]


def test_the_connections_have_a_column_for_each_program() -> None:
    assert lines(ROWS, {"crane": "0.21.9"}).splitlines() == [
        "| connection | dockersave | crane 0.21.9 | oras |",
        "|---|---|---|---|",
        "| near | 18.6 | 142.0 | 91.0 |",
        "| far | 39.6 | – | 180.0 |",
    ]


def test_the_chart_shows_real_connections_alone() -> None:
    assert "far · oras" in chart(ROWS)
    assert "the floor" not in chart(ROWS)
    assert "22 %" in chart(ROWS)


def test_what_is_not_reached_is_said() -> None:
    assert "| 20 × 10 MiB | the floor | 1.20 × | ≤ 1 × | **not reached** |" in markdown(ROWS, "")


@pytest.mark.parametrize(
    ("mark", "path"),
    [(ALL, "tests/bench/README.md"), (LINES, "README.md"), (MARK, "tests/engines/README.md")],
)
def test_only_the_part_between_the_marks_is_replaced(mark: str, path: str, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    before = (ROOT / path).read_text()
    file.write_text(before)
    write_between(mark, "| new |\n", file)
    after = file.read_text()
    first, _, rest = before.partition(f"<!-- {mark} -->\n")
    assert after.startswith(f"{first}<!-- {mark} -->\n| new |\n<!-- so far -->\n")
    assert after.endswith(rest.partition("<!-- so far -->\n")[2])


def test_the_readme_compares_with_current_peers() -> None:
    readme = (ROOT / "README.md").read_text()
    (heading,) = re.findall(r"^\| \| dockersave .*$", readme, re.MULTILINE)
    _, _, rest = readme.partition(f"<!-- {LINES} -->\n")
    table = rest.partition("\n")[0]
    for name, version in CURRENT.items():
        assert f"{name} {version} " in heading
        assert f"{name} {version}" in table


def test_a_file_without_marks_becomes_the_text(tmp_path: Path) -> None:
    write_between(MARK, "new\n", tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text() == "new\n"
