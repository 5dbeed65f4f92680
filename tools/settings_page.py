"""docs/settings.md: all settings, from the table of system/settings.py and the paragraphs of etc/.

``make index`` writes it, with the other generated texts.
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from courierpy.admin.serve import POP3
from courierpy.system.settings import TABLE, Setting

HOUSE = Path(__file__).resolve().parent.parent
FILES = ("imapd", "imapd-ssl", "pop3d", "pop3d-ssl")
HEAD = """# All settings

Made of the table of the settings and the comments in `etc/` by `make index`. Each is a line `NAME=value` of
a file in Courier's format, or a variable of the environment; a number that is left empty is the default.
`courierpy config` tells which are in force, and what is odd about them.
"""
KINDS = {"text": "a text", "number": "a number", "flag": "0 or 1", "yes": "YES or NO",
         "octal": "octal digits", "numbers": "a number, and others by name",
         "days": "folder:days, with commas between"}
_ENTRY = re.compile(r"^##NAME: (\w+):\d+\n(.*?)(?=^##NAME:|\Z)", re.M | re.S)


def paragraphs(text: str) -> dict[str, list[str]]:
    """Name -> what a file of settings says of it, in paragraphs."""
    found = {}
    for name, body in _ENTRY.findall(text):
        comment = re.match(r"(?:#.*\n)*", body)
        lines = [line[1:].strip() for line in comment[0].splitlines()] if comment else []
        # the last one may be the setting itself, switched off
        said = "\n".join(line for line in lines if not re.match(rf"{name}=", line))
        found[name] = [" ".join(part.split()) for part in said.split("\n\n") if part.strip()]
    return found


def page() -> str:
    """The text of docs/settings.md."""
    said = {file: paragraphs((HOUSE / "etc" / file).read_text(encoding="utf-8")) for file in FILES}
    there = {setting.name: [file for file in FILES if setting.name in said[file]] for setting in TABLE}
    lines = [HEAD]
    for file in FILES:
        lines.append(f"## Of etc/{file}\n")
        for setting in TABLE:
            if there[setting.name][:1] == [file]:
                lines += _entry(setting, there[setting.name], said)
    lines.append("## Set by the listener\n")
    for setting in TABLE:
        if not there[setting.name]:
            lines += _entry(setting, [], said)
    return "\n".join(lines).rstrip("\n") + "\n"


def _entry(setting: Setting, files: list[str],
           said: Mapping[str, Mapping[str, list[str]]]) -> Iterator[str]:
    expected = ", ".join(f"`{choice}`" for choice in setting.choices) or KINDS[setting.kind]
    if setting.low is not None or setting.high is not None:
        expected += f" {setting.span()}"
    default = f"`{setting.default}`" if setting.default else "empty"
    if setting.name in POP3:
        default += f", of POP3 `{POP3[setting.name]}`"
    where = f" In {', '.join(f'`etc/{file}`' for file in files)}." if files else ""
    yield f"### {setting.name}\n"
    yield f"{expected[0].upper()}{expected[1:]}; default: {default}.{where}\n"
    for part in said[files[0]][setting.name] if files else [f"{setting.doc[0].upper()}{setting.doc[1:]}."]:
        yield _plain(part) + "\n"
    if setting.unneeded:
        yield f"Accepted, and does nothing: {_plain(setting.unneeded)}.\n"


def _plain(text: str) -> str:
    """Text in which nothing is Markdown."""
    return re.sub(r"([\\*<\[`|]|\b_|_\b|^[-+#>]|^\d+(?=\.))", r"\\\1", text)
