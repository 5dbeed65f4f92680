"""The log: whole lines on descriptor 2, each with Courier's priority word.

Courier's logger turns the word before the colon into a syslog priority.
One line is one write, so that lines of several processes never mix.
"""
from __future__ import annotations

import os


def _line(priority: str, text: str) -> None:
    clean = "".join(c if c.isprintable() else "." for c in text)
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
