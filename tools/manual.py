"""python -m tools.manual: man/*.8 of the pages in docs/, by troff's man macros.

It knows what those pages use of Markdown: headings, paragraphs, lists, code, tables, links, code and stress.
setup.py and ``make install`` run it; man/ is no part of the clone.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
SECTION = 8
BULLET = r"\(bu"
# page in docs/ -> programs; the first has the text, the others lead to it, and those of none to courierpy's
PAGES = {"couriertcpd": ("couriertcpd",), "imaplogin": ("imaplogin",), "imapd": ("imapd", "rimapd"),
         "pop3": ("pop3d", "pop3login", "ipop3d"), "lmtp": ("lmtpd", "deliver"), "smmapd": ("smmapd",),
         "notifyd": ("notifyd",), "courierpy": ("courierpy",), "quota": ("deliverquota",),
         "shared": ("sharedindexsplit", "sharedindexinstall")}
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<![\w*])\*([^*\s][^*]*)\*|\[([^]]+)\]\(([^)]+)\)")
_ITEM = re.compile(r"(?:[-*]|(\d+\.)) (.*)")


def main(words: list[str]) -> int:
    """``words``: the folder, else man/ of the clone."""
    folder = Path(words[0]) if words else HOUSE / "man"
    folder.mkdir(exist_ok=True)
    for page, names in PAGES.items():
        for name, text in pages(page, names):
            (folder / f"{name}.{SECTION}").write_text(text)
    for name in programs() - {name for names in PAGES.values() for name in names}:
        (folder / f"{name}.{SECTION}").write_text(leading_to("courierpy"))
    return 0


def programs() -> set[str]:
    """The names of all that are installed."""
    config = ConfigParser()
    config.read(HOUSE / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"].split("\n")
    return {line.split("=")[0].strip() for line in scripts if line}


def leading_to(name: str) -> str:
    """The page of a program that another one's page tells of."""
    return f".so man{SECTION}/{name}.{SECTION}\n"


def pages(page: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(program, its page) of each program that a page of docs/ is about."""
    text = (HOUSE / "docs" / f"{page}.md").read_text()
    yield names[0], troff(names, text)
    for name in names[1:]:
        yield name, leading_to(names[0])


def troff(names: tuple[str, ...], text: str) -> str:
    """The man page of a page of docs/."""
    lines = [f'.TH {names[0].upper()} {SECTION} "" courierpy "courierpy"', ".nh", ".ad l"]
    title, _, rest = text.partition("\n")
    if "\n## Name\n" not in text:
        first = re.split(r"(?<=[.:])\s", re.sub(r"^(?: {4}.*|\s*)\n", "", rest, flags=re.M), maxsplit=1)[0]
        lines += [".SH NAME", f"{', '.join(names)} \\- {_plain(first.rstrip('.:'))}", ".SH DESCRIPTION"]
    lines += [line for block in _blocks(rest) for line in _block(block, names)]
    return "\n".join(lines) + "\n"


def _blocks(text: str) -> Iterator[list[str]]:
    """Headings, code, tables, items and paragraphs, each by its lines."""
    block: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            if block and not fenced:
                yield block
                block = []
            block.append(line)
            fenced = not fenced
            if not fenced:
                yield block
                block = []
            continue
        starts = bool(_ITEM.match(line)) or line.startswith("#")
        other = bool(block) and block[0].startswith("|") != line.startswith("|")
        if not fenced and block and (not line.strip() or starts or other):
            yield block
            block = []
        if line.strip() or fenced:
            block.append(line)
        if not fenced and line.startswith("#"):
            yield block
            block = []
    if block:
        yield block


def _block(block: list[str], names: tuple[str, ...]) -> Iterator[str]:
    first = block[0]
    item = _ITEM.match(first)
    if first.startswith("#"):
        word = first.lstrip("#").strip()
        yield f".SH {_plain(word.upper())}" if first.startswith("## ") else f".SS {_plain(word)}"
    elif first.startswith("```") or first.startswith("    "):
        inside = block[1:-1] if first.startswith("`") else [line[4:] for line in block]
        yield from (".PP", ".RS 4", ".nf", *map(_escaped_line, inside), ".fi", ".RE")
    elif first.startswith("|"):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in block]
        for row in rows[2:]:
            yield from (".TP", _inline(row[0]) or "\\&", _inline(": ".join(filter(None, row[1:]))) or "\\&")
    elif item is not None:
        yield f".IP {item[1] or BULLET} 4"
        yield _inline(" ".join([item[2], *(line.strip() for line in block[1:])]))
    else:
        yield ".PP"
        said = _inline(" ".join(line.strip() for line in block))
        # the line that whatis(1) reads
        yield said.replace(" - ", r" \- ", 1) if said.split(" - ")[0].split(", ")[0] in names else said


def _inline(text: str) -> str:
    """A paragraph as one line of troff."""
    out, at = [], 0
    for match in _INLINE.finditer(text):
        out.append(_plain(text[at:match.start()], begins=False))
        code, strong, stress, label, target = match.groups()
        if code or strong:
            # a long list of alternatives may be broken behind each
            said = re.sub(r"(?<=\w)\|(?=\w)", r"|\:", _plain(code or strong, begins=False))
            out.append(rf"\fB{said}\fR")
        elif stress:
            out.append(rf"\fI{_plain(stress, begins=False)}\fR")
        else:
            out.append(_plain(label.replace("`", ""), begins=False)
                       + (f" <{_plain(target, begins=False)}>" if target.startswith("http") else ""))
        at = match.end()
    line = "".join([*out, _plain(text[at:], begins=False)])
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _plain(text: str, begins: bool = True) -> str:
    """Text that troff takes as it is.  ``begins``: a line begins with it."""
    said = text.replace("\\|", "|").replace("\\", r"\e")
    for char, spelling in (("-", r"\-"), ("`", r"\(ga"), ("~", r"\(ti"), ("^", r"\(ha")):
        said = said.replace(char, spelling)
    said = "".join(char if ord(char) < 128 else f"\\[u{ord(char):04X}]" for char in said)
    return rf"\&{said}" if begins and said.startswith((".", "'")) else said


def _escaped_line(line: str) -> str:
    return _plain(line) or r"\&"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
