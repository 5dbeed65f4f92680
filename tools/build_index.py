"""Write ``commands/index.py`` and ``ext/index.py`` from what the modules decorate, what is told into
``etc/imapd``, the page of all settings, the site's menu and the bars of the benchmark's table.

The indices are plain data, so that a session loads only the modules that it uses.
``python -m tools.build_index`` rewrites them, ``--check`` only compares.
"""
from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator

from courierpy import imap
from courierpy.imap import commands, ext
from tools import site

IMAP = os.path.dirname(imap.__file__)
HOUSE = os.path.dirname(os.path.dirname(IMAP))
SETTINGS = os.path.join(HOUSE, "etc", "imapd")
PAGE = os.path.join(HOUSE, "docs", "settings.md")
MENU = os.path.join(HOUSE, "mkdocs.yml")
FIGURES, BARS = (os.path.join(HOUSE, "docs", name) for name in ("benchmarks.md", "bench.svg"))
HEAD = '"""{}"""\nfrom __future__ import annotations\n\n'


def _modules(package: str) -> list[str]:
    folder = os.path.join(IMAP, package)
    return sorted(name[:-3] for name in os.listdir(folder) if name.endswith(".py")
                  and name not in ("__init__.py", "index.py"))


def command_index() -> str:
    """The text of commands/index.py."""
    import importlib
    files = [f"commands.{name}" for name in _modules("commands")]
    files += [f"ext.{name}" for name in _modules("ext")]
    for name in files:
        importlib.import_module(f"courierpy.imap.{name}")
    lines = [HEAD.format("Command name -> (module, states, flags, rights, named).  Generated: make index."),
             "COMMANDS: dict[bytes, tuple[str, int, int, str, tuple[str, ...]]] = {\n"]
    for word, row in sorted(commands.DECORATED.items()):
        module = row.handler.__module__.removeprefix("courierpy.imap.")
        values = f'"{module}", {row.states}, {row.flags}, "{row.rights}", {_words(row.named)}'
        lines.append(f"    {_literal(word)}: ({values}),\n")
    return "".join(lines) + "}\n"


def ext_index() -> str:
    """The text of ext/index.py."""
    import importlib
    records = {name: ext.load(name) for name in _modules("ext")}
    rows = [(word, f"ext.{name}", record.off.get(word, ""), record.value) for name, record in records.items()
            for word in record.names]
    for name in _modules("commands"):
        module = importlib.import_module(f"courierpy.imap.commands.{name}")
        rows += [(word, f"commands.{name}", "", "") for word in getattr(module, "CAPABILITIES", ())]
    lines = [HEAD.format("Which extension is plugged where.  Generated: make index."),
             "# token, file, the setting that takes it back, the setting that is its value\n"
             "CAPABILITIES: tuple[tuple[bytes, str, str, str], ...] = (\n"]
    lines += [f'    ({_literal(word)}, "{file}", "{off}", "{value}"),\n'
              for word, file, off, value in sorted(rows)]
    lines += [")\n", "# what is told only where IMAP_CAPABILITY names it: why\n",
              "WITHHELD: dict[bytes, str] = {\n"]
    for record in records.values():
        if record.withheld:
            why = textwrap.wrap(record.withheld, 96, break_on_hyphens=False)
            text = "\n        ".join(f'"{line}{" " if line is not why[-1] else ""}"' for line in why)
            lines += [f"    {_literal(word)}:\n        {text},\n" for word in record.names]
    lines.append("}\nPLUGGED: dict[str, dict[bytes, str]] = {\n")
    for table in ext.TABLES:
        plugged = {key: name for name, record in records.items() for key in record.table(table)}
        inner = [f'{_literal(key)}: "{name}"' for key, name in sorted(plugged.items())]
        line = f'    "{table}": {{{", ".join(inner)}}},\n'
        if len(line) > 110:
            line = f'    "{table}": {{\n' + "".join(f"        {pair},\n" for pair in inner) + "    },\n"
        lines.append(line)
    return "".join(lines) + "}\n"


def settings_text(path: str) -> str:
    """The text of etc/imapd, with what is told where nothing is chosen."""
    import re

    from courierpy.imap.capability import CORE
    from courierpy.system.settings import Settings
    words = [word.decode() for word in CORE if word != b"LITERAL-"]
    rows, _, withheld = ext_index().partition("WITHHELD")
    words += [word for word, off in re.findall(r'^    \(b"(\S+)", "\S*", "(\S*)", ', rows, re.M)
              if not word.endswith("=") and f'b"{word}":\n' not in withheld
              # what couriertcpd sets is there where most sessions are
              and (not off.startswith("!") or off.startswith("!COURIERPY_") or Settings({}).flag(off[1:]))]
    with open(path, encoding="utf-8") as file:
        before, between, after = file.read().partition("all\n#  is: ")
    told = textwrap.fill(" ".join(words), 106, initial_indent="#  is: ", subsequent_indent="#  ",
                         break_on_hyphens=False)
    return before + between + told.removeprefix("#  is: ") + "\n\n" + after.partition("\n\n")[2]


def _words(words: tuple[str, ...]) -> str:
    return "(" + " ".join(f'"{word}",' for word in words) + ")"


def _literal(name: bytes) -> str:
    return 'b"' + name.decode("ascii").replace("\\", "\\\\") + '"'


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of each generated file.  Each is made when those before it are written: the page of the
    settings is made of etc/imapd too."""
    yield os.path.join(IMAP, "commands", "index.py"), command_index()
    yield os.path.join(IMAP, "ext", "index.py"), ext_index()
    if os.path.exists(SETTINGS):
        # not in every copy of the code; and the table of settings brings all extensions along
        from bench import bars
        from tools import settings_page
        yield SETTINGS, settings_text(SETTINGS)
        yield PAGE, settings_page.page()
        with open(MENU, encoding="utf-8") as file:
            menu = file.read()
        yield MENU, site.menu(menu)
        with open(FIGURES, encoding="utf-8") as file:
            figures = file.read()
        yield BARS, bars.draw(bars.rows(figures))


def main(argv: list[str]) -> int:
    stale = 0
    for path, text in texts():
        old = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                old = file.read()
        if old != text:
            stale = 1
            if "--check" not in argv:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
    return stale if "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
