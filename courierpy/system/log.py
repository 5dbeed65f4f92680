"""The log: whole lines on descriptor 2, each with Courier's priority word.

Courier's logger turns the word before the colon into a syslog priority.
One line is one write, so that lines of several processes never mix.  A session
over a pipe has no logger behind descriptor 2, only the client's terminal or even
its input: it logs to syslog itself.
"""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# the numbers of syslog(3)
PRIORITIES = {"DEBUG": 7, "INFO": 6, "NOTICE": 5, "WARN": 4, "ERR": 3, "CRIT": 2, "ALERT": 1}
_syslog: Callable[[int, str], None] | None = None


def to_syslog(name: str) -> None:
    """From now on to syslog, facility mail, under this name."""
    global _syslog
    import syslog
    syslog.openlog(name, syslog.LOG_PID, syslog.LOG_MAIL)
    _syslog = syslog.syslog


def _line(priority: str, text: str) -> None:
    clean = text if text.isprintable() else "".join(c if c.isprintable() else "." for c in text)
    if _syslog is not None:
        _syslog(PRIORITIES[priority], clean.encode("utf-8", "backslashreplace").decode())
        return
    try:
        os.write(2, f"{priority}: {clean}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # a log that is gone must not end a session


def debug(text: str) -> None:
    _line("DEBUG", text)


def info(text: str) -> None:
    _line("INFO", text)


def notice(text: str) -> None:
    _line("NOTICE", text)


def warn(text: str) -> None:
    _line("WARN", text)


def err(text: str) -> None:
    _line("ERR", text)


def crit(text: str) -> None:
    _line("CRIT", text)


def alert(text: str) -> None:
    _line("ALERT", text)
