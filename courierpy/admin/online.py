"""The sessions that are on, for the tools that show and end them.  See system/presence.py."""
from __future__ import annotations

import os
import signal
import time

from courierpy.admin import complain, default_files, give_up, read_settings
from courierpy.admin.maildirs import Parser
from courierpy.model.numbers import decimal
from courierpy.system import denials, presence
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.system.presence import Seen

SECONDS = 10.0                 # that sessions have to end
PAUSE, AGAIN = 0.02, 1.0       # seconds between two looks, and until a session is told again


def parser(name: str, text: str | None) -> Parser:
    """With -C.  ``text``: the docstring of its module."""
    found = Parser(prog=f"courierpy {name}", description=(text or "").partition("\n")[0].partition(": ")[2])
    found.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    return found


def settings(files: list[str] | None) -> Settings:
    """Of these files, else of Courier's places.  Exits with the complaint of a bad one."""
    return Settings(read_settings(files or default_files()))


def sessions(of: Settings) -> list[Seen]:
    """Those that this user may see.  Exits where there is no RUNDIRECTORY."""
    base = of.text(presence.SETTING)
    if not base:
        give_up(f"{presence.SETTING} is not set: no session says that it is on", os.EX_CONFIG)
    if not os.path.isdir(base):
        return []                      # nobody was on yet
    return sorted(presence.sessions(base), key=lambda each: (each.user, each.began, each.name))


def chosen(found: Iterable[Seen], words: Iterable[str]) -> list[Seen]:
    """Those that a word names: a user, an address or a network, a pid."""
    words = list(words)
    networks = list(filter(None, map(denials.network_of, (word for word in words if decimal(word) is None))))
    return [each for each in found
            if each.user in words or str(each.pid) in words and each.state != presence.ASLEEP
            or any(denials.within(each.ip, network) for network in networks)]


def end(found: Iterable[Seen], text: str) -> int:
    """End these sessions; their clients are told ``text``, "" for what is told without one.  The exit status,
    and a line for each that has not ended in time or may not be told to."""
    left = {(each.folder, each.name): each for each in found}
    told = [path for each in left.values() if (path := _tell(each, text))]
    status, until, last = os.EX_OK, time.monotonic() + SECONDS, dict[tuple[str, str], float]()
    try:
        while left and time.monotonic() < until:
            for key in list(left):
                now = presence.read(*key)
                if now is None or not now.lives():
                    del left[key]
                    continue
                due = last.get(key, 0.0) + (AGAIN if now.state != presence.ASLEEP else 5 * PAUSE)
                if time.monotonic() >= due:
                    last[key] = time.monotonic()
                    try:
                        _signal(now)
                    except PermissionError:
                        complain(f"{now.user} [{now.ip}]: it is another user's: do it as root")
                        status = os.EX_NOPERM
                        del left[key]
            time.sleep(PAUSE if left else 0)
    finally:
        for path in told:
            try:
                os.unlink(path)
            except OSError:
                continue               # the listener did
    for each in left.values():
        complain(f"{each.user} [{each.ip}]: it ends behind what it is doing")
        status = max(status, os.EX_TEMPFAIL)
    return status


def _tell(each: Seen, text: str) -> str:
    """Where the word for this session stands now; "" for nowhere."""
    folder = os.path.join(each.folder, presence.TOLD)
    try:
        if not presence.listener_of(each.folder) or os.lstat(each.folder).st_uid not in (0, os.geteuid()):
            return ""                  # anybody may have made it
        path = os.path.join(folder, each.name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with open(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o644)       # its session reads it
            file.write(text)
        return path
    except OSError:
        return ""                      # an ordinary user, who ends his own


def _signal(each: Seen) -> None:
    """To its process, or for one that sleeps to its listener.  PermissionError."""
    pid = presence.listener_of(each.folder) if each.state == presence.ASLEEP else each.pid
    if not pid:
        return
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return                         # it has ended
    try:
        # looked at behind the descriptor, which is of one process and no later one of the same pid
        if each.lives() and (each.state != presence.ASLEEP or presence.listener_of(each.folder) == pid):
            signal.pidfd_send_signal(fd, signal.SIGUSR2)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)
