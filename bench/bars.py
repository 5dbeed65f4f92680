"""The table of docs/benchmarks.md as bars, as SVG: how many times as good as Courier and Dovecot.

All figures are those of the table; nothing is measured or computed here.
"""
from __future__ import annotations

import math
import re
from html import escape

from bench.plot import COLOURS, NAMES

PEERS = ("courier", "dovecot")
WIDTH, ROW, BAR = 900, 26, 9           # of the sheet, of a row of the table, of a bar
LEFT, RIGHT, HEAD, FOOT = 340, 60, 56, 26
MOST = 1000.0                          # what is beyond has its figure, and the bar ends here
LEAST = 0.1
_ROW = re.compile(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \|(?:[^|]*\|){3} ([^|]*) \| ([^|]*) \|", re.M)


class Row:
    """``times``: peer -> how many times as good courierpy is, without those that were not measured."""

    def __init__(self, key: str, title: str, times: dict[str, float]) -> None:
        self.key = key
        self.title = title
        self.times = times


def rows(document: str) -> list[Row]:
    """Of the section ``table`` of the document."""
    table = document.partition("<!-- table -->")[2].partition("<!-- end -->")[0]
    found = []
    for key, title, _, *cells in _ROW.findall(table):
        times = {peer: float(cell.replace(",", "")) for peer, cell in zip(PEERS, cells, strict=True)
                 if re.fullmatch(r"[\d.,]+", cell)}
        if times:
            found.append(Row(key, title.strip(), times))
    return found


def draw(found: list[Row]) -> str:
    """The sheet: a line in the middle is as good as the other, to the right is better, logarithmic."""
    height = HEAD + len(found) * ROW + FOOT
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
             f'height="{height}" font-family="sans-serif" font-size="11">',
             "<title>How many times as good as Courier and Dovecot, row by row</title>",
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for number, peer in enumerate(PEERS):
        left = 16 + 150 * number
        parts += [f'<rect x="{left}" y="14" width="22" height="{BAR}" fill="{COLOURS[peer]}"/>',
                  f'<text x="{left + 28}" y="23" font-size="12">times {NAMES[peer]}</text>']
    parts.append(f'<text x="{WIDTH - 16}" y="23" text-anchor="end" fill="#555">right of 1: courierpy is '
                 'better; logarithmic</text>')
    bottom = HEAD + len(found) * ROW
    for power in range(round(math.log10(LEAST)), round(math.log10(MOST)) + 1):
        x = _x(10.0 ** power)
        parts += [f'<line x1="{x:.1f}" y1="{HEAD - 6}" x2="{x:.1f}" y2="{bottom}" '
                  f'stroke="{"#333" if power == 0 else "#ddd"}"/>',
                  f'<text x="{x:.1f}" y="{HEAD - 10}" text-anchor="middle" fill="#555">'
                  f'{10.0 ** power:g}</text>']
    for number, row in enumerate(found):
        top = HEAD + number * ROW
        parts.append(f'<text x="{LEFT - 12}" y="{top + 16}" text-anchor="end">{escape(row.title)} '
                     f'<tspan fill="#999">{row.key}</tspan></text>')
        for place, peer in enumerate(PEERS):
            if peer in row.times:
                parts += _bar(row.times[peer], top + 3 + place * (BAR + 1), COLOURS[peer])
    return "\n".join([*parts, "</svg>", ""])


def _bar(times: float, top: int, colour: str) -> list[str]:
    one, end = _x(1.0), _x(times)
    left, width = min(one, end), max(abs(end - one), 0.5)
    if times >= 1:
        place, anchor = end + 4, "start"
    else:
        place, anchor = end - 4, "end"
    return [f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{place:.1f}" y="{top + BAR - 1}" font-size="9" text-anchor="{anchor}" fill="#555">'
            f'{times:g}</text>']


def _x(times: float) -> float:
    times = min(max(times, LEAST), MOST)
    share = math.log10(times / LEAST) / math.log10(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)
