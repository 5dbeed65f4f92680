"""Figures -> the table, on the terminal and in docs/benchmarks.md."""
from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import Lab, Scale
    from bench.table import Case

    Results = dict[str, dict[str, list[float]]]        # case -> server -> a figure for each repetition

PEERS = ("courier", "dovecot")
TITLES = {"courierpy": "courierpy", "courier": "Courier", "dovecot": "Dovecot",
          "python": "the bare interpreter", "before": "the state before",
          "in process": "TLS in the session's process"}
LEAST = 0.01                   # of any unit
NOTES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "notes.md")


def medians(results: Results, key: str) -> dict[str, float]:
    return {server: statistics.median(values) for server, values in results.get(key, {}).items() if values}


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value >= 100:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def better(case: Case, ours: float, theirs: float) -> float:
    """How many times as good we are: above 1 is better, whatever the unit.  What was too little to be
    measured is as the least that is told."""
    ours, theirs = max(ours, LEAST), max(theirs, LEAST)
    return ours / theirs if case.more else theirs / ours


def goal_text(case: Case, figures: dict[str, float]) -> str:
    goal = case.goal
    word = "at least" if case.more else "at most"
    if not goal.peer:
        return f"{word} {goal.limit:g} {case.unit}"
    factor = "" if goal.factor == 1 else f"{goal.factor:g} x "
    figure = f" ({number(figures[goal.peer])})" if goal.peer in figures and goal.peer not in PEERS else ""
    return f"{word} {factor}{TITLES[goal.peer]}{figure}"


def verdict(case: Case, figures: dict[str, float]) -> str:
    """met, or by how much it is missed."""
    target = case.goal.target(figures)
    if target is None or "courierpy" not in figures:
        return "not measured"
    share = better(case, figures["courierpy"], target)
    if share >= 1:
        return "met"
    if share < 0.5:
        return f"**missed**, {1 / share:.1f} times"
    return f"**missed** by {100 * (1 - share):.0f} %"


def of_limit(case: Case, figures: dict[str, float]) -> str:
    """How much that is of what is possible, where that was measured; "" where not."""
    if not {"courierpy", "limit"} <= figures.keys():
        return ""
    share = better(case, figures["courierpy"], figures["limit"])
    return f", {share:.2f} of the limit ({number(figures['limit'])})"


def ratio(case: Case, figures: dict[str, float], peer: str) -> str:
    if peer not in figures or "courierpy" not in figures:
        return "-"
    value = better(case, figures["courierpy"], figures[peer])
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def titled(case: Case, scale: Scale) -> str:
    return case.title.format(messages=f"{scale.messages:,}", big=f"{scale.big:,}", many=scale.many,
                             heard=scale.heard, fewest=scale.of_few,
                             range=f"{scale.range:,}", synced=scale.synced, few=scale.idle[0],
                             lots=scale.idle[1], some=scale.crowds[0], crowd=scale.crowds[1],
                             crowded=scale.crowded, piecewise=scale.large[0], huge=scale.large[1],
                             secure=f"{scale.secure:,}", told=scale.told)


def beside_before(cases: list[Case], results: Results) -> str:
    """Now against before, a line a case: the medians, how many times as good now, the ranges."""
    lines = []
    for case in cases:
        figures = medians(results, case.key)
        if {"courierpy", "before"} <= figures.keys():
            ranges = "   ".join(f"{number(min(values))}-{number(max(values))}" for values in
                                (results[case.key][server] for server in ("courierpy", "before")))
            now, then = figures["courierpy"], figures["before"]
            lines.append(f"{case.key:4} {number(now):>9} {number(then):>9} {case.unit:10} "
                         f"{better(case, now, then):.2f}   {ranges}")
    return "\n".join(["row        now    before            times as good   ranges", *lines])


def slower_than_courier(cases: list[Case], results: Results) -> list[str]:
    """Keys of the cases where we are behind Courier."""
    found = []
    for case in cases:
        figures = medians(results, case.key)
        if {"courierpy", "courier"} <= figures.keys():
            if better(case, figures["courierpy"], figures["courier"]) < 1:
                found.append(case.key)
    return found


def table(cases: list[Case], results: Results, scale: Scale) -> str:
    lines = ["| row | what | unit | courierpy | Courier | Dovecot | : Courier | : Dovecot | goal | |",
             "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |"]
    for case in cases:
        figures = medians(results, case.key)
        cells = [number(figures[server]) if server in figures else "-" for server in ("courierpy", *PEERS)]
        lines.append(f"| {case.key} | {titled(case, scale)} | {case.unit} | {' | '.join(cells)} | "
                     f"{ratio(case, figures, 'courier')} | {ratio(case, figures, 'dovecot')} | "
                     f"{goal_text(case, figures)} | {verdict(case, figures)}{of_limit(case, figures)} |")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """A table for the terminal: columns as wide as they must be."""
    rows = [[cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
            for line in text.splitlines() if not line.startswith("| ---")]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) if 2 < column < 8 else cell.ljust(width)
                               for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
                     for row in rows) + "\n"


def reasons() -> dict[str, str]:
    """notes.md: paragraphs that begin with the keys of rows, ``13a 13b: why``."""
    if not os.path.exists(NOTES):
        return {}
    with open(NOTES, encoding="utf-8") as file:
        text = file.read()
    found = {}
    for paragraph in re.split(r"\n\s*\n", text):
        match = re.match(r"((?:\d+[a-z]? ?)+): (.*)", paragraph.strip(), re.S)
        if match:
            for key in match[1].split():
                found[key] = " ".join(match[2].split())
    return found


def why(cases: list[Case], results: Results, scale: Scale) -> str:
    """A line for every goal that is missed and every case behind Courier."""
    known = reasons()
    behind = slower_than_courier(cases, results)
    lines = []
    for case in cases:
        figures = medians(results, case.key)
        said = verdict(case, figures).replace("**", "") + of_limit(case, figures)
        if said.startswith("missed") or case.key in behind:
            if case.key in behind:
                said += f", {ratio(case, figures, 'courier')} of Courier's speed"
            lines.append(f"* **{case.key}** {titled(case, scale)}: {said}. " + known.get(case.key, ""))
    return "\n".join(line.rstrip() for line in lines) + "\n" if lines else "Every goal is met.\n"


def ahead(cases: list[Case], results: Results, scale: Scale) -> str:
    """What is ahead of both peers, by how much; then how many rows are behind which."""
    leads, behind = [], dict.fromkeys(PEERS, 0)
    for case in cases:
        figures = medians(results, case.key)
        rates = {peer: better(case, figures["courierpy"], figures[peer]) for peer in PEERS
                 if {"courierpy", peer} <= figures.keys()}
        for peer, rate in rates.items():
            behind[peer] += rate < 1
        if len(rates) == len(PEERS) and min(rates.values()) >= 1:
            leads.append((min(rates.values()), case))
    leads.sort(key=lambda lead: -lead[0])
    lines = ["| ahead of both | : Courier | : Dovecot |", "| --- | ---: | ---: |"]
    for _, case in leads:
        figures = medians(results, case.key)
        rates_told = " | ".join(ratio(case, figures, peer) for peer in PEERS)
        lines.append(f"| {titled(case, scale)} | {rates_told} |")
    told = " and ".join(f"{TITLES[peer]} in {count}" for peer, count in behind.items())
    return ("## What is ahead\n\n"
            + f"Of {len(cases)} rows courierpy is ahead of both in {len(leads)}, behind {told}"
            + ". How many times as good, whatever the unit:\n\n" + "\n".join(lines)
            + "\n\nAll rows follow, then why a goal is missed.\n")


def disagreements(lab: Lab) -> str:
    """Where the servers answered differently: a figure for different work says nothing."""
    lines = []
    for (row, mark), values in sorted(lab.notes.items()):
        if len({repr(value) for value in values.values()}) > 1:
            told = ", ".join(f"{TITLES[name]} {value if isinstance(value, int) else 'another order'}"
                             for name, value in values.items())
            lines.append(f"* {row}{' (' + mark + ')' if mark else ''}: {told}")
    return "\n".join(lines) + "\n" if lines else ""


def machine(lab: Lab) -> str:
    """What it ran on, without names of this machine."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            match = re.search(r"model name\s*: (.*)", file.read())
            model = match[1] if match else model
    except OSError:
        pass
    kind = subprocess.run(["stat", "-f", "-c", "%T", lab.folder], capture_output=True, text=True, check=False)
    versions = [f"{TITLES[server.name]} {server.version}".strip() for server in lab.servers]
    missing = "".join(f" {TITLES[name]} was not measured: {reason.splitlines()[0]}."
                      for name, reason in lab.missing.items())
    missing += "".join(f" Row {row} failed on {TITLES[name]}: {reason}."
                       for (row, name), reason in sorted(lab.failed.items()))
    missing += "".join(f" {TITLES[name]} ended {count} sessions of row {row} by itself; they began again."
                       for (row, name), count in sorted(lab.ended.items()))
    return (f"{os.cpu_count()} processors ({model}), Linux {platform.release()}, "
            f"mail on {kind.stdout.strip() or 'an unknown file system'}; Python {platform.python_version()}; "
            f"{', '.join(versions)}; {time.strftime('%d %B %Y')}; {lab.load} processes wanted to run when it "
            f"began.{missing}")


HEAD = """# Benchmarks

courierpy beside the real Courier and Dovecot, on one machine, over IMAP on loopback. This file is written
by the runs themselves; the reasons below the table come from `bench/notes.md`.
"""

REPEAT = """## How to repeat

    make bench                 every row, about {minutes} minutes: this table; then make bench-growth
    make bench-growth          how cost grows with the folder; writes the plots
    python -m bench.hold       10,000 idle connections and 2,000 by TLS at once
    make bench-messages        how cost grows with a message: 281 shapes of mail, doubled up to 1 MB
    python -m bench --quick    a smoke test with little mail
    python -m bench --rows 3,5 --servers courierpy,dovecot --runs 9

As root, with Courier and Dovecot installed (Debian: courier-imap, courier-authdaemon,
courier-authlib-userdb, dovecot-imapd; the two conflict as packages). As another user, or without them,
courierpy is measured alone. Nothing of the machine's configuration is used or changed: the servers get
free ports on 127.0.0.1, accounts and mail of their own in a temporary folder, and are stopped at the end.

## What is measured

* The mail is made anew for each run from a fixed seed, the same for every server (hard links to the same
  files): sizes with a median of 6 kB and a long tail, plain, alternative, mixed, related, signed, forwarded
  and nested messages, quoted-printable and base64, six charsets, threads with References, eight years.
  {messages} messages where the row does not say more; {big} of short ones where it does.
* Every row runs on all servers by turns, {runs} times (SEARCH in texts three times, memory once); the
  median counts. Only ratios within one run say something: other machines and other hours give other figures.
* The columns ": Courier" and ": Dovecot" say how many times as good courierpy is; above 1 is better,
  whether more or less of the unit is better.
* Warm: an earlier session gave the same command. Cold: the server's index, caches and UIDs were removed;
  the messages are in the kernel's cache. SELECT is counted in its own rows only.
* All servers check the same md5-crypt password and log to a file. Dovecot and Courier run as they are
  shipped, with higher limits for connections and memory; Courier with enhanced IDLE, as courierpy.
* Durable APPEND: courierpy and Dovecot sync to disk before the answer, Courier does not.
* The limit of a row is what a program outside of the servers comes to with the same client, where it makes
  the same system calls, or writes the same octets out of memory, and nothing else (`bench/limits.py`).
* CPU is what the server's processes and their reaped children used, from /proc. Memory is the
  proportional set size with so many sessions less that with none, divided by their number; "in IDLE"
  is ten seconds after IDLE began.
* Row 20 runs each server's session program as a user's shell would, over a pipe.
"""


def document(cases: list[Case], results: Results, lab: Lab, scale: Scale, runs: int,
             minutes: float) -> dict[str, str]:
    """Section -> text."""
    different = disagreements(lab)
    text = machine(lab) + "\n\n" + table(cases, results, scale)
    if different:
        text += "\nThe servers answered differently here:\n\n" + different
    reasons_text = "## Where a goal is missed, or Courier is faster\n\n" + why(cases, results, scale)
    return {"ahead": ahead(cases, results, scale), "table": text, "why": reasons_text,
            "repeat": REPEAT.format(minutes=max(1, round(minutes)), messages=f"{scale.messages:,}",
                                    big=f"{scale.big:,}", runs=runs)}


SECTIONS = ("ahead", "table", "why", "growth", "held", "repeat")


def write(path: str, new: dict[str, str]) -> None:
    """Replace sections of the document and keep the others: two targets write it."""
    old: dict[str, str] = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            old = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", file.read(), re.S))
    texts = {**old, **{name: text.strip() for name, text in new.items()}}
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEAD)
        for name in SECTIONS:
            if name in texts:
                file.write(f"\n<!-- {name} -->\n{texts[name]}\n<!-- end -->\n")
    print(f"wrote {os.path.relpath(path)}", file=sys.stderr)
    if "table" in new:
        draw(path)
    if "ahead" in new:
        count(path)


AHEAD = re.compile(r"^Of (\d+) rows courierpy is ahead of both in (\d+)", re.M)
TOLD_AHEAD = re.compile(r"(?<=^\| rows of the benchmark ahead of both C servers \| )\d+ of \d+", re.M)


def count(path: str) -> None:
    """What the document at ``path`` says of all rows, in the table of the README above it."""
    readme = os.path.join(os.path.dirname(path), "..", "README.md")
    with open(path, encoding="utf-8") as file:
        found = AHEAD.search(file.read())
    if found is None or not os.path.exists(readme):
        return
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    with open(readme, "w", encoding="utf-8") as file:
        file.write(TOLD_AHEAD.sub(f"{found[2]} of {found[1]}", text))


def draw(path: str) -> None:
    """The table of the document at ``path`` as bars, in bench.svg beside it."""
    from bench import bars
    with open(path, encoding="utf-8") as file:
        drawing = bars.draw(bars.rows(file.read()))
    beside = os.path.join(os.path.dirname(path), "bench.svg")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(drawing)
    print(f"wrote {os.path.relpath(beside)}", file=sys.stderr)
