"""python -m bench.growth: the rows that depend on the size of a folder, at several sizes.

Writes docs/growth.svg and its section of docs/benchmarks.md.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys

from bench import plot, report
from bench.__main__ import DOCUMENT, REPO, SERVERS, measure
from bench.lab import Lab, Scale
from bench.table import ROWS, Case

COUNTS = "1000,10000,100000,1000000"
RANGED = 1000                      # messages of one STORE, COPY, ... where there are so many
HUGE = 200_000                     # from here on only the rows that a mail program needs to open a folder
ROWS_OF_HUGE = (3, 5)
ROWS_OF_ALL = (3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 36, 37)
DRAWING = os.path.join(REPO, "docs", "growth.svg")

# what one figure of a row stands for: the whole folder, a range, one command; the rest is in ms already
WHOLE = ("5", "6a", "6b", "7a", "7b", "8a", "8b", "12a", "12b", "13a", "13b", "13c", "13d", "14a", "14b",
         "36a", "36b", "37a", "37b", "37c")
RANGE = ("15a", "16a", "16b", "16c", "36c", "36d")
SINGLE = ("9b", "10", "15b")
TIMES = ("3a", "3b", "4")


def milliseconds(key: str, figure: float, scale: Scale) -> float | None:
    """What a user waits for: the figure as time for the whole command."""
    if key in TIMES:
        return figure
    if key in WHOLE:
        return 1000 * scale.messages / figure
    if key in RANGE:
        return 1000 * scale.range / figure
    return 1000 / figure if key in SINGLE else None


def scale_of(count: int) -> Scale:
    return Scale(messages=count, big=count, range_=min(RANGED, count), small=True, mark=f"-{count}")


def section(panels: list[plot.Panel], lab: Lab) -> str:
    """The picture and its figures."""
    counts = sorted({count for panel in panels for line in panel.lines.values() for count in line})
    heads = " | ".join(f"{count:,}" for count in counts)
    lines = ["## How cost grows", "",
             "Milliseconds for the whole command, by messages in the folder (short messages; both axes",
             "logarithmic). A line that stays flat costs the same in any folder. Courier pauses for 40 ms",
             "where its small pieces meet a delayed acknowledgement.", "",
             "![How cost grows](growth.svg)", "",
             "Milliseconds, courierpy / Courier / Dovecot:", "",
             f"| row | what | {heads} |", "| --- | --- |" + " ---: |" * len(counts)]
    for panel in panels:
        cells = []
        for count in counts:
            values = [panel.lines.get(server, {}).get(count) for server in SERVERS.split(",")]
            cells.append(" / ".join("-" if value is None else report.number(value) for value in values)
                         if any(value is not None for value in values) else "")
        lines.append(f"| {panel.key} | {panel.title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", report.machine(lab)])


def title(case: Case) -> str:
    """Without the number of messages, which is what varies."""
    text = case.title
    for words in (" of {big}", " {big}", " in a folder of {messages}", " of {messages}"):
        text = text.replace(words, "")
    return text.format(range=f"{RANGED:,} or all")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--counts", default=COUNTS, help="messages in the folder: " + COUNTS)
    parser.add_argument("--servers", default=SERVERS, help="of " + SERVERS)
    parser.add_argument("--runs", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--rows", help="numbers of rows")
    parser.add_argument("--source", default=REPO, help="directory with the courierpy package to measure")
    parser.add_argument("--folder", help="where the mail is made; the temporary folder")
    parser.add_argument("--draw", default=DRAWING, metavar="FILE", help="the picture; docs/growth.svg")
    parser.add_argument("--write", default=DOCUMENT, metavar="FILE", help="the document; docs/benchmarks.md")
    parser.add_argument("--json", metavar="FILE", help="the figures too")
    options = parser.parse_args(words)
    counts = [int(word) for word in options.counts.split(",")]
    wanted = [int(word) for word in options.rows.split(",")] if options.rows else list(ROWS_OF_ALL)
    panels: dict[str, plot.Panel] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))         # so that the servers are stopped
    with Lab(options.servers.split(","), options.source, [f"-{count}" for count in counts],
             options.folder) as lab:
        for count in counts:
            print(f"{count:,} messages", file=sys.stderr, flush=True)
            scale = scale_of(count)
            rows = [row for row in ROWS if row.number in wanted
                    and row.number in (ROWS_OF_HUGE if count >= HUGE else ROWS_OF_ALL)]
            results = measure(lab, rows, scale, options.runs)
            for case in (case for row in rows for case in row.cases):
                for server, figure in report.medians(results, case.key).items():
                    value = milliseconds(case.key, figure, scale)
                    if value is not None:
                        panel = panels.setdefault(case.key, plot.Panel(case.key, title(case)))
                        panel.lines.setdefault(server, {})[count] = value
            for running in lab.servers:
                lab.forget_mail(running, scale)
        text = section(list(panels.values()), lab)
    with open(options.draw, "w", encoding="utf-8") as file:
        file.write(plot.draw(list(panels.values())))
    report.write(options.write, {"growth": text})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({key: panel.lines for key, panel in panels.items()}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
