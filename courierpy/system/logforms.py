"""Lines of the log for programs that read logs: logfmt, and JSON with one object a line.

A text of the house is words and then fields, ``LOGIN, user=joe, ip=[::1], port=[7]``, and becomes
``msg`` and a field for each of the last ones.  A value that log.quoted() wrote is the client's word again, so
that who looks for a user finds him by his name; what is no UTF-8 of it stays ``\\xNN``.
"""
from __future__ import annotations

import json
import re

from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# no backtracking: a value has no comma, and a quoted one no quote
_FIELD = re.compile(r'([a-z][a-z0-9_]*)=(\[[^\],]*\]|"[^",]*"(?:\.\.\.)?|[^", ]*)')
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
COUNTS = ("body", "deleted", "headers", "rcvd", "retr", "sent", "time", "top")    # numbers in JSON
LEVELS = {"ERR": "error"}      # others are the priority in small letters
ADDRESSES = ("ip", "port")
HEAD = ("ts", "level", "host", "program", "pid", "msg")


def fields_of(text: str) -> tuple[str, dict[str, str]]:
    """(words, fields) of a text of the log.  The fields are its last parts, as far as all behind is one; of
    two of one name the last counts, which is the one that the log itself has added (log.about)."""
    parts = text.split(", ")
    found: dict[str, str] = {}
    while len(parts) > 1 and (match := _FIELD.fullmatch(parts[-1])) is not None:
        if match[1] in ADDRESSES and not match[2].startswith("["):
            break                      # log.who() did not write that
        name = f"{match[1]}_" if match[1] in HEAD else match[1]
        found.setdefault(name, _plain(match[2]))
        parts.pop()
    return ", ".join(parts), dict(reversed(found.items()))


def _plain(value: str) -> str:
    """The word that a value stands for."""
    if value.startswith("["):
        return value[1:-1]
    if not value.startswith('"'):
        return value
    inner, _, more = value[1:].rpartition('"')
    octets = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), inner.encode("utf-8", "replace"))
    return octets.decode("utf-8", "backslashreplace") + more


def _said(level: str, head: Mapping[str, str], text: str) -> dict[str, str]:
    message, fields = fields_of(text)
    return {"ts": head["ts"], "level": LEVELS.get(level, level.lower()), "host": head["host"],
            "program": head["program"], "pid": head["pid"], "msg": message, **fields}


def as_json(level: str, head: Mapping[str, str], text: str) -> str:
    """``level``: of log.PRIORITIES.  ``head``: ts, host, program and pid."""
    said = _said(level, head, text)
    counts = {name: number for name in ("pid", *COUNTS)
              if (number := decimal(said.get(name, ""))) is not None}
    return json.dumps({**said, **counts}, separators=(",", ":"))


def as_logfmt(level: str, head: Mapping[str, str], text: str) -> str:
    """As as_json."""
    return " ".join([f"{name}={_word(value)}" for name, value in _said(level, head, text).items()])


def _word(value: str) -> str:
    """A value that has a blank, a quote or the like is a JSON string."""
    if value and value.isprintable() and not {' ', '"', "=", "\\"}.intersection(value):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


RENDER = {"json": as_json, "logfmt": as_logfmt}
