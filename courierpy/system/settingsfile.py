"""Files of settings, as Courier's are: assignments in the words of a shell, which nothing here runs."""
from __future__ import annotations

from courierpy.model.regex import later
from courierpy.system.settings import SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TOLD = 5                      # wrong lines of a file, in one line of a log

_NAME = later(r"[A-Za-z_][A-Za-z0-9_]*=")
_PIECE = later(r"""(?s)'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\;#]+)|(#)|([\s;])""")
_VARIABLE = later(r"\$(?:\{(\w+)\}|(\w+))")
_ESCAPE = later(r'\\(["\\$`])')


def parse_file(path: str, start: Mapping[str, str] | None = None,
               wrong: list[str] | None = None) -> dict[str, str]:
    """The assignments of a file on top of ``start``; ``wrong`` as of parse_text.  Raises SettingsError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        wanted = "that this user may read " if isinstance(error, PermissionError) else ""
        raise SettingsError(f"{path}: {error.strerror} (a file of settings {wanted}was expected)") from None
    return parse_text(text, path, start, wrong)


def parse_text(text: str, path: str, start: Mapping[str, str] | None = None,
               wrong: list[str] | None = None) -> dict[str, str]:
    """The assignments in a file of settings, on top of ``start``.  ``path``: for the complaints.  ``wrong``
    gets one for each line that is no assignment; without it they are a SettingsError."""
    values = dict(start or {})
    complaints = [] if wrong is None else wrong
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("export "):
            line = line[7:].lstrip()
        match = _NAME.match(line)
        if match is None:
            complaints.append(f"{path}:{number}: not an assignment, NAME=value: {line[:60]}")
            continue
        try:
            values[match[0][:-1]] = _value(line[match.end():], values)
        except ValueError as error:
            complaints.append(f"{path}:{number}: {error}")
    if wrong is None and complaints:
        more = f"; and {len(complaints) - MOST_TOLD} lines more" if len(complaints) > MOST_TOLD else ""
        raise SettingsError("; ".join(complaints[:MOST_TOLD]) + more)
    return values


def _value(text: str, values: Mapping[str, str]) -> str:
    def expand(piece: str) -> str:
        return _VARIABLE.sub(lambda m: values.get(m[1] or m[2], ""), piece)

    out = []
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise ValueError("a quote is not closed")
        single, double, escaped, plain, comment, blank = match.groups()
        at = match.end()
        if single is not None:
            out.append(single)
        elif double is not None:
            if "`" in double or "$(" in double:
                raise ValueError("commands are not run")
            out.append(_ESCAPE.sub(r"\1", expand(double)))
        elif escaped is not None:
            out.append(escaped)
        elif plain is not None:
            if "`" in plain or "$(" in plain:
                raise ValueError("commands are not run")
            out.append(expand(plain))
        elif blank is not None:
            rest = text[at:].strip()
            if rest and not rest.startswith(("#", ";")):
                raise ValueError(f"text behind the value: {rest[:40]}")
            break
        elif comment is not None:
            out.append("#")
    return "".join(out)
