"""python -m bench: measure the rows on the servers by turns, print the table, write docs/benchmarks.md."""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time

from bench import report
from bench.lab import FULL, QUICK, At, Lab, Refused, Scale
from bench.table import ROWS, Row

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(REPO, "docs", "benchmarks.md")
SERVERS = "courierpy,courier,dovecot"


def measure(lab: Lab, rows: list[Row], scale: Scale, runs: int, keep: str | None = None) -> report.Results:
    """The figures, servers by turns within each repetition.  ``keep``: the file that they are written to
    after each row."""
    results: report.Results = {}
    for row in rows:
        start = time.monotonic()
        repeat = min(runs, row.most)
        for turn in range(repeat):
            shift = turn % len(lab.servers)
            for server in lab.servers[shift:] + lab.servers[:shift]:      # nobody is always first
                try:
                    figures = row.measure(At(lab, server, scale))
                except (Refused, ValueError, LookupError, OSError) as error:
                    print(f"row {row.number}, {server.name}: {error}", file=sys.stderr)
                    print(server.last_words(), file=sys.stderr)
                    lab.failed.setdefault((row.number, server.name), str(error))
                    continue
                for key, value in figures.items():
                    case, _, other = key.partition(":")
                    results.setdefault(case, {}).setdefault(other or server.name, []).append(value)
        print(f"row {row.number}: {repeat} x {len(lab.servers)} in {time.monotonic() - start:.0f} s",
              file=sys.stderr, flush=True)
        if keep:
            with open(keep, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1)
    return results


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", help="numbers of rows, as 3,5,11; otherwise all")
    parser.add_argument("--servers", default=SERVERS, help="of " + SERVERS)
    parser.add_argument("--runs", type=int, default=5, help="repetitions (5)")
    parser.add_argument("--quick", action="store_true", help="little mail, once: a smoke test")
    parser.add_argument("--source", default=REPO, help="directory with the courierpy package to measure")
    parser.add_argument("--before", metavar="SOURCE", help="measure that state of the package by turns with "
                        "this one, and print each row's ratio")
    parser.add_argument("--folder", help="where the mail is made; the temporary folder")
    parser.add_argument("--write", metavar="FILE", help="write the document here; a whole run writes "
                        "docs/benchmarks.md")
    parser.add_argument("--print-only", action="store_true", help="write no document")
    parser.add_argument("--json", metavar="FILE", help="every single figure too")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    wanted = [int(word) for word in options.rows.split(",")] if options.rows else [row.number for row in ROWS]
    rows = [row for row in ROWS if row.number in wanted]
    scale = QUICK if options.quick else FULL
    runs = 1 if options.quick else options.runs
    servers = options.servers.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))         # so that the servers are stopped
    start = time.monotonic()
    with Lab(servers, options.source, where=options.folder, alone=not options.quick,
             before=options.before) as lab:
        for name, why in lab.missing.items():
            print(f"{name} is left out: {why}", file=sys.stderr)
        results = measure(lab, rows, scale, runs, options.json)
        cases = [case for row in rows for case in row.cases]
        text = report.document(cases, results, lab, scale, runs, (time.monotonic() - start) / 60)
        print(report.plain(report.table(cases, results, scale)))
        if options.before:
            print(report.beside_before(cases, results))
        print(report.disagreements(lab))
        behind = report.slower_than_courier(cases, results)
        print("slower than Courier:", " ".join(behind) or "nowhere")
    whole = len(rows) == len(ROWS) and not options.quick and options.servers == SERVERS
    path = options.write or (DOCUMENT if whole and not options.print_only else None)
    if path:
        report.write(path, text)
    return 0 if all("courierpy" in results.get(case.key, {}) for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
