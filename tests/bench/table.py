"""The measured rows as Markdown, and those over real connections as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from tests.bench.rows import Row

_WIDTH, _LINE, _LABEL, _BAR = 980, 26, 550, 300


def markdown(rows: Sequence[Row], about: str) -> str:
    """A table, and what it was measured on."""
    lines = [
        about,
        "",
        "| work | against | measured | goal | |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        sign = "≤" if row.smaller else "≥"
        reached = "reached" if row.reached else "**not reached**"
        note = f" ({row.note})" if row.note else ""
        lines.append(
            f"| {row.work} | {row.against or '–'} | {_value(row)}{note} "
            f"| {sign} {row.goal:g} {row.unit} | {reached} |"
        )
    return "\n".join(lines) + "\n"


def lines(rows: Sequence[Row], versions: Mapping[str, str]) -> str:
    """Seconds over real connections: a row for each, a column for each program.

    Parameters:
        rows: all that were measured.
        versions: of the programs, by name.
    """
    seconds = {(row.work, row.against): row.seconds for row in rows if row.seconds}
    names = list(dict.fromkeys(name for _, name in seconds))
    heads = [f"{name} {versions.get(name, '')}".rstrip() for name in names]
    text = [f"| connection | dockersave | {' | '.join(heads)} |", f"|---|---|{'---|' * len(names)}"]
    for work in dict.fromkeys(work for work, _ in seconds):
        pairs = [seconds.get((work, name)) for name in names]
        mine = next(pair[0] for pair in pairs if pair)
        theirs = [f"{pair[1]:.1f}" if pair else "–" for pair in pairs]
        text.append(f"| {work} | {mine:.1f} | {' | '.join(theirs)} |")
    return "\n".join(text) + "\n"


def chart(rows: Sequence[Row]) -> str:
    """Bars for real connections: ours, with what others take as the full length."""
    shown = [row for row in rows if row.seconds]
    height = _LINE * len(shown) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="20" font-weight="bold">Time taken by dockersave, others = 100 %</text>',
    ]
    for number, row in enumerate(shown):
        y = 34 + number * _LINE
        length = min(1.2, row.value) * _BAR
        parts += [
            f'<text x="10" y="{y + 15}">{escape(f"{row.work} · {row.against}")}</text>',
            f'<rect x="{_LABEL}" y="{y + 2}" width="{_BAR}" height="18" fill="#e6e6e6"/>',
            f'<rect x="{_LABEL}" y="{y + 2}" width="{length:.0f}" height="18" fill="#2f6fab"/>',
            f'<text x="{_LABEL + _BAR + 10}" y="{y + 15}">{row.value * 100:.0f} %</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _value(row: Row) -> str:
    return f"{row.value:.2f} {row.unit}"
