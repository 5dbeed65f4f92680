"""What the administrator has to say to everybody who comes, in files: Cyrus's below CONFIGDIRECTORY, UW's at
their places.

``msg/shutdown`` and IMAP_NOLOGIN end sessions, ``msg/motd``, IMAP_ALERT and ``~/.imapalert`` are ALERTs,
``log/USER/`` gets a record of each session of the user; who stands in ``denied`` is kept out (denials.py).
Of a Cyrus file the first line counts, of the others each.  A file that cannot be read is told in the log, and
as if it were not there.
"""
from __future__ import annotations

import os
import time

from courierpy.system import log
from courierpy.system.presence import shown
from courierpy.system.record import Record
from courierpy.system.regular import is_there, open_regular, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.settings import Settings

SHUTDOWN, MOTD = "msg/shutdown", "msg/motd"        # below CONFIGDIRECTORY
VARIABLE = "COURIERPY_REFUSAL"         # why nobody is let in, where a dialogue before the login cannot look
SEEN = "courierpy-motd"        # in the Maildir: when the message of the day was shown, and which
READ = 4096                    # octets of a file
LINES = 10                     # of an alert that are told
OCTETS = 400                   # of a line
RECORD = 10_000_000            # octets of the record of a session
NO_REASON = "The system is shut down for maintenance."


def refusal(settings: Settings, anybody: bool = False) -> str:
    """Why nobody is let in; "" where everybody is.  IMAP_NOLOGIN does not hold for root, who mends it, unless
    we are root before we know who comes (``anybody``)."""
    nologin = settings.text("IMAP_NOLOGIN")
    if why := shutdown(settings):
        return why
    if not nologin or not anybody and os.getuid() == 0 or not is_there(nologin):
        return ""
    return " ".join(_lines(nologin) or [NO_REASON])[:OCTETS]


def to_all(settings: Settings) -> dict[str, str]:
    """For who speaks with a client before its login: the variable that says why nobody is let in, if so."""
    why = refusal(settings, anybody=True)
    return {VARIABLE: why} if why else {}


def shutdown(settings: Settings) -> str:
    """Why all sessions are to end; "" where they are not.  One look at a name."""
    base = settings.text("CONFIGDIRECTORY")
    if not base:
        return ""
    path = os.path.join(base, SHUTDOWN)
    if not is_there(path):
        return ""
    return (_lines(path) or [NO_REASON])[0]


def alerts(settings: Settings, own: str, only_reads: bool) -> list[str]:
    """What a session is told when it begins; the working directory is the Maildir.  ``own``: the path of
    what the user is to be told once."""
    base = settings.text("CONFIGDIRECTORY")
    found = _motd(os.path.join(base, MOTD), settings.text("IMAP_MOTD"), only_reads) if base else []
    if alert := settings.text("IMAP_ALERT"):
        found += _lines(alert)
    if own and (lines := _lines(own)):
        found += lines
        if not only_reads:
            try:
                os.unlink(own)
            except FileNotFoundError:
                pass                   # another session was first
            except OSError as error:
                log.err(f"{own}: {error.strerror}: it is told again")
    return found


def _motd(path: str, how: str, only_reads: bool) -> list[str]:
    """Once a day and a text, unless it is to be told to every session."""
    if not (found := _lines(path)[:1]) or how == "session" or only_reads:
        return found
    now = f"{time.strftime('%Y-%m-%d')} {found[0]}\n".encode()
    try:
        if os.path.lexists(SEEN) and whole(SEEN, READ) == now:
            return []
        fd = open_regular(SEEN, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(fd, now)
        finally:
            os.close(fd)
    except OSError as error:
        log.err(f"{SEEN}: {error.strerror}: the message of the day is told again")
    return found


def record(settings: Settings, user: str) -> Record | None:
    """A record of the session, where ``log/USER/`` is a directory below CONFIGDIRECTORY."""
    base = settings.text("CONFIGDIRECTORY")
    folder = os.path.join(base, "log", user)
    if not base or not user or "/" in user or user.startswith(".") or not os.path.isdir(folder):
        return None
    path = os.path.join(folder, f"{int(time.time())}.{os.getpid()}")
    try:
        return Record(open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), RECORD)
    except OSError as error:
        log.err(f"{path}: {error.strerror}: there is no record of the session")
        return None


def _lines(path: str) -> list[str]:
    """What can be told of a file."""
    try:
        text = whole(path, READ).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        log.err(f"{path}: {error.strerror}")
        return []
    lines = [shown(line)[:OCTETS] for line in text.splitlines()]
    return [line for line in lines if line][:LINES]
