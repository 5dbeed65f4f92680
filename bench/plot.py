"""Small line charts on one sheet, as SVG: time over folder size, both logarithmic."""
from __future__ import annotations

import math
from html import escape

COLOURS = {"courierpy": "#c0392b", "courier": "#2e6da4", "dovecot": "#3c8d40"}
NAMES = {"courierpy": "courierpy", "courier": "Courier", "dovecot": "Dovecot"}
COLUMNS = 4
WIDTH, HEIGHT = 270, 190           # of a panel
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 28, 24      # from the panel's edge to its axes
HEAD = 40                          # for the legend


class Panel:
    """One chart.  ``lines``: server -> {messages: milliseconds}."""

    def __init__(self, key: str, title: str) -> None:
        self.key = key
        self.title = title
        self.lines: dict[str, dict[int, float]] = {}


def draw(panels: list[Panel]) -> str:
    """The whole sheet."""
    rows = -(-len(panels) // COLUMNS)
    counts = [count for panel in panels for line in panel.lines.values() for count in line] or [1, 10]
    width, height = COLUMNS * WIDTH, HEAD + rows * HEIGHT
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" font-family="sans-serif" font-size="10">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for number, (server, colour) in enumerate(COLOURS.items()):
        x = 16 + 100 * number
        parts += [f'<line x1="{x}" y1="18" x2="{x + 22}" y2="18" stroke="{colour}" stroke-width="2.5"/>',
                  f'<text x="{x + 27}" y="22" font-size="12">{NAMES[server]}</text>']
    parts.append(f'<text x="{width - 16}" y="22" text-anchor="end" fill="#555">milliseconds over messages '
                 'in the folder</text>')
    for number, panel in enumerate(panels):
        left, top = number % COLUMNS * WIDTH, HEAD + number // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({left},{top})">')
        parts += _panel(panel, min(counts), max(counts))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, fewest: int, most: int) -> list[str]:
    values = [value for line in panel.lines.values() for value in line.values()]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    first, last = math.log10(fewest), max(math.log10(most), math.log10(fewest) + 1)

    def x(count: float) -> float:
        return LEFT + (math.log10(count) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT - 30}" y="16" font-size="11" font-weight="bold">'
             f'{panel.key} {escape(panel.title)}</text>']
    for power in range(low, high + 1):
        at = y(10.0 ** power)
        parts += [f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>',
                  f'<text x="{LEFT - 4}" y="{at + 3:.1f}" text-anchor="end" fill="#555">'
                  f'{_short(10.0 ** power)}</text>']
    for power in range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1):
        at = x(10.0 ** power)
        parts += [f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>',
                  f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 13}" text-anchor="middle" fill="#555">'
                  f'{_short(10.0 ** power)}</text>']
    for server, line in panel.lines.items():
        colour = COLOURS[server]
        points = [(x(count), y(value)) for count, value in sorted(line.items())]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                     + " ".join(f"{left:.1f},{top:.1f}" for left, top in points) + '"/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="2.5" fill="{colour}"/>' for left, top in points]
    return parts


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
