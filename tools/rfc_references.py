"""Hold the references to RFCs in the code against ``rfc/index.txt``, and write that index.

A reference is ``RFC 9051 6.4.5`` or ``RFC 9051 6.3.2, 6.3.3`` in a docstring or a comment.
The index has a line for each section that is referred to, and for what is known to be missing::

    9051 6.4.5      done    imap/commands/cmd_fetch.py imap/grammar/fetchitems.py
    4314 3          not     ACL has no file yet

The second column is the state, kept by hand: ``done``, ``part`` (what is missing stands behind ``;``)
or ``not`` (with the reason instead of files).  The files are found, not written: ``python -m
tools.rfc_references`` rewrites them, ``--check`` complains of a line that is not as it would be, of a section
that its RFC does not have (``rfc/sections.txt``), and of a state that is none.
"""
from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INDEX, SECTIONS = ROOT / "rfc" / "index.txt", ROOT / "rfc" / "sections.txt"
CODE = ROOT / "courierpy"
HEAD = """\
# Section of an RFC, state (done, part, not), files that refer to it; "; " begins what is missing.
# The files are written by `make index`, the states by hand; `make check` holds it against the code.
"""
STATES = ("done", "part", "not")
_SECTION = r"(?:\d+|[A-Z](?=[.\d]))(?:\.\d+)*"
# "RFC 9051 6.3.2, 6.3.3": further sections stand behind commas, where they have a point
REFERENCE = re.compile(rf"RFC[ \n#]+(\d{{3,5}})(?:[ \n#]+({_SECTION}(?:, {_SECTION}(?=[.,;:)\s]))*))?")


class Row:
    """A line of the index.  ``section`` is "" for the whole RFC."""

    def __init__(self, rfc: int, section: str, state: str, files: list[str], note: str = "") -> None:
        self.rfc, self.section, self.state, self.files, self.note = rfc, section, state, files, note

    @property
    def key(self) -> tuple[int, list[tuple[int, int, str]]]:
        return self.rfc, [(0, int(part), "") if part.isdigit() else (1, 0, part)
                          for part in self.section.split(".") if part]

    def text(self) -> str:
        rest = " ".join(self.files) + (f"; {self.note}" if self.note and self.files else self.note)
        return f"{f'{self.rfc} {self.section}'.rstrip():<16}{self.state:<8}{rest}".rstrip()


def references(folder: Path) -> dict[tuple[int, str], list[str]]:
    """(RFC, section or "") -> the files below ``folder`` that refer to it, sorted."""
    found: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    for path in sorted(folder.rglob("*.py")):
        name = str(path.relative_to(folder))
        for match in REFERENCE.finditer(path.read_text(encoding="utf-8")):
            for section in (match[2] or "").split(", "):
                found[int(match[1]), section.rstrip(".")].add(name)
    return {key: sorted(names) for key, names in found.items()}


def parse(text: str) -> list[Row]:
    """The rows of an index.  Raises ValueError with the number of a line that is none."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\d+)(?: ([A-Z\d.]+))? +(\w+) +(.*)", line)
        if match is None or match[3] not in STATES:
            raise ValueError(f"line {number} is no row: {line}")
        files, _, note = match[4].partition("; ")
        if match[3] == "not":
            files, note = "", match[4]
        rows.append(Row(int(match[1]), match[2] or "", match[3], files.split(), note))
    return rows


def sections(text: str) -> dict[int, set[str]]:
    """RFC -> its sections, of ``rfc/sections.txt``."""
    lines = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {int(rfc): set(names.split()) for rfc, _, names in lines}


def merged(rows: list[Row], found: dict[tuple[int, str], list[str]]) -> list[Row]:
    """The index as it should be: states and notes of ``rows``, files as ``found``."""
    kept = {(row.rfc, row.section): row for row in rows}
    fresh = []
    for (rfc, section), files in found.items():
        old = kept.pop((rfc, section), None)
        known = old is not None and old.state != "not"
        fresh.append(Row(rfc, section, old.state, files, old.note) if old is not None and known
                     else Row(rfc, section, "done", files))
    fresh += [row for row in kept.values() if row.state == "not"]
    return sorted(fresh, key=lambda row: row.key)


def main(argv: list[str]) -> int:
    """Gives the exit status: 1 when ``--check`` finds the index wrong."""
    wrong = []
    rows = parse(INDEX.read_text(encoding="utf-8")) if INDEX.exists() else []
    found = references(CODE)
    known = sections(SECTIONS.read_text(encoding="utf-8"))
    for (rfc, section), files in sorted(found.items()):
        if section and rfc in known and section not in known[rfc]:
            wrong.append(f"{files[0]}: RFC {rfc} has no section {section}")
    text = HEAD + "".join(row.text() + "\n" for row in merged(rows, found))
    if "--check" not in argv:
        INDEX.write_text(text, encoding="utf-8")
    elif INDEX.read_text(encoding="utf-8") != text:
        wrong.append("rfc/index.txt is not as the code refers to RFCs: make index")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
