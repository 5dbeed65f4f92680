"""What ps(1) shows of a process, where that is wanted: IMAP_PROCTITLE, by setproctitle (extra ``title``).

Else a process shows the command line that it was started with, which all forks of the listener share.
"""
from __future__ import annotations

from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.system.settings import Settings

show: Callable[[str], None] | None = None      # None: nothing is worth the while to say()
_who = ""


def start(settings: Settings) -> None:
    """For this process, and those that it forks."""
    global show
    if show is None and settings.flag("IMAP_PROCTITLE"):
        try:
            from setproctitle import setproctitle
        except ImportError:
            log.warn("IMAP_PROCTITLE: setproctitle is not installed; ps shows command lines")
            return
        show = setproctitle


def be(who: str) -> None:
    """What this process is from now on."""
    global _who
    _who = who
    say("")


def say(doing: str) -> None:
    """What it is at: a mailbox, a command."""
    if show is not None:
        text = f"{_who} {doing}" if doing else _who
        show("".join(char if char.isprintable() else "?" for char in text))
