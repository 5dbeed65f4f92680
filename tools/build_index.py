"""Write ``commands/index.py`` and ``ext/index.py`` from what the modules decorate.

Both are plain data, so that a session loads only the modules that it uses.
``python -m tools.build_index`` rewrites them, ``--check`` only compares.
"""
from __future__ import annotations

import os
import sys

from courierpy import imap
from courierpy.imap import commands, ext

IMAP = os.path.dirname(imap.__file__)
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
    lines = [HEAD.format("Command name -> (module, states, flags).  Generated: make index."),
             "COMMANDS: dict[bytes, tuple[str, int, int]] = {\n"]
    for word, row in sorted(commands.DECORATED.items()):
        module = row.handler.__module__.removeprefix("courierpy.imap.")
        lines.append(f'    {_literal(word)}: ("{module}", {row.states}, {row.flags}),\n')
    return "".join(lines) + "}\n"


def ext_index() -> str:
    """The text of ext/index.py."""
    names = _modules("ext")
    records = {name: ext.load(name) for name in names}
    lines = [HEAD.format("Which extension is plugged where.  Generated: make index."),
             "CAPABILITIES: dict[str, tuple[bytes, ...]] = {\n"]
    lines += [f'    "{name}": ({", ".join(map(_literal, record.names))},),\n'
              for name, record in records.items()]
    lines.append("}\nPLUGGED: dict[str, dict[bytes, str]] = {\n")
    for seam in ext.SEAMS:
        plugged = {key: name for name, record in records.items() for key in getattr(record, seam)}
        inner = ", ".join(f'{_literal(key)}: "{name}"' for key, name in sorted(plugged.items()))
        lines.append(f'    "{seam}": {{{inner}}},\n')
    return "".join(lines) + "}\n"


def _literal(name: bytes) -> str:
    return 'b"' + name.decode("ascii").replace("\\", "\\\\") + '"'


def main(argv: list[str]) -> int:
    stale = 0
    for package, text in (("commands", command_index()), ("ext", ext_index())):
        path = os.path.join(IMAP, package, "index.py")
        old = ""
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                old = file.read()
        if old != text:
            stale = 1
            if "--check" not in argv:
                with open(path, "w", encoding="ascii") as file:
                    file.write(text)
    return stale if "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
