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
            if each.user in words or str(each.pid) in words and each.has_process
            or any(denials.within(each.ip, network) for network in networks)]


def end(found: Iterable[Seen], text: str) -> int:
    """End these sessions; their clients are told ``text``, "" for what is told without one.  The exit status,
    and a line for each that has not ended in time or may not be told to."""
    left = {(each.folder, each.name): each for each in found}
    rooms = {folder: _room(folder) for folder, _ in left}
    told = [(rooms[folder], name) for folder, name in left if _tell(rooms[folder], name, text)]
    status, until, last = os.EX_OK, time.monotonic() + SECONDS, dict[tuple[str, str], float]()
    try:
        while left and time.monotonic() < until:
            for key in list(left):
                now = presence.read(*key)
                if now is None or not now.lives():
                    del left[key]
                    continue
                due = last.get(key, 0.0) + (AGAIN if now.has_process else 5 * PAUSE)
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
        for room, name in told:
            try:
                os.unlink(name, dir_fd=room)
            except OSError:
                continue               # the listener did
        for room in rooms.values():
            if room >= 0:
                os.close(room)
    for each in left.values():
        complain(f"{each.user} [{each.ip}]: it ends behind what it is doing")
        status = max(status, os.EX_TEMPFAIL)
    return status


def _room(folder: str) -> int:
    """A descriptor of the place for words to the sessions of a listener, -1 where there is none that can be
    trusted: anybody may have made the folder of those that have no listener."""
    try:
        base, owner = os.stat(os.path.dirname(folder)), os.lstat(folder).st_uid
        if not presence.listener_of(folder) or base.st_uid not in (0, os.geteuid()) or base.st_mode & 0o022:
            return -1
        room = os.open(os.path.join(folder, presence.TOLD), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return -1
    # the listener may be an ordinary user (couriertcpd -user), whose folder it is then
    if os.fstat(room).st_uid in (0, os.geteuid(), owner):
        return room
    os.close(room)
    return -1


def _tell(room: int, name: str, text: str) -> bool:
    """Does the word for this session stand in the room of its listener now?"""
    if room < 0:
        return False
    try:
        try:
            os.unlink(name, dir_fd=room)           # of a tool that was killed
        except FileNotFoundError:
            pass
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=room)
        with open(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o644)       # its session reads it
            file.write(text)
        return True
    except OSError:
        return False                   # an ordinary user, who ends his own


def _signal(each: Seen) -> None:
    """To its process, or for one that sleeps to its listener.  PermissionError."""
    pid = presence.listener_of(each.folder) if not each.has_process else each.pid
    if not pid:
        return
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return                         # it has ended
    try:
        # looked at behind the descriptor, which is of one process and no later one of the same pid
        if each.lives() and (each.has_process or presence.listener_of(each.folder) == pid):
            signal.pidfd_send_signal(fd, signal.SIGUSR2)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)
