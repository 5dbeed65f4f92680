"""courierpy shutdown TEXT: end all sessions, and let nobody in; --cancel: let them in again.

TEXT, a line, is the reason that clients show.  A session hears of it with its next command, or within a
minute while it waits.
"""
from __future__ import annotations

from courierpy.admin.message import change
from courierpy.system.notices import SHUTDOWN


def main(words: list[str]) -> int:
    return change("shutdown", __doc__, SHUTDOWN, "--cancel", "let everybody in again", words)
