"""The log: one line for each event, in the form that whoever reads it expects.

    courier   ``ERR: text``: a pipe leads to courierlogger, which turns the word into a syslog priority
    lines     ``2026-07-28T12:00:00+02:00 host imapd[4711]: text``: a file or a terminal, where nobody
              else adds time and name; the word stays, but for INFO
    journal   systemd's journal, with program, pid and priority as fields of their own
    syslog    syslog(3), facility mail
    logfmt    ``ts=... level=info host=... program=imapd pid=4711 msg=LOGIN user=joe ip=::1 port=7``
    json      the same as a JSON object; both for programs that collect logs (system/logforms.py)

``start`` chooses: ``LOG_FORMAT`` (before: ``IMAP_LOG``) names one, else it is what descriptor 2 is.  One
line is one write, so that lines of several processes never mix.

Text of a client is never written as it came: ``quoted`` keeps what is harmless, escapes what
could be taken for another field, and cuts.  What a process says about its client has user, ip
and port, because ``about`` is told once who that is.
"""
from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    Render = Callable[[str, Mapping[str, str], str], str]

# the numbers of syslog(3)
PRIORITIES = {"DEBUG": 7, "INFO": 6, "NOTICE": 5, "WARN": 4, "ERR": 3, "CRIT": 2, "ALERT": 1}
FORMS = ("courier", "lines", "journal", "syslog", "logfmt", "json")
VARIABLE = "LOG_FORMAT"
ALIAS = "IMAP_LOG"                           # its name before there were programs without IMAP
JOURNAL = "/run/systemd/journal/socket"      # systemd's native protocol: a datagram of FIELD=value lines
JOURNAL_TIMEOUT = 2.0                        # seconds
FACILITY = 2                                 # mail, syslog(3)
MAX_WORD = 128                               # characters of a word of a client
MAX_PATH = 1000                    # of a path
MAX_LINE = 4000                              # characters of a whole line

_form = "courier"
_name = "courierpy"
_about = ""
_render: Render | None = None  # of the forms that other programs read
_second, _stamped = 0, ""       # when a line was written last, and how lines begin in that second
_journal: socket | None = None  # connected to JOURNAL, in a process that cannot find it by its name


def wanted(environ: Mapping[str, str]) -> str:
    """The form that the settings name, "" where they name none."""
    return (environ.get(VARIABLE) or environ.get(ALIAS) or "").lower()


def start(name: str, environ: Mapping[str, str]) -> None:
    """Chooses the form and names the program; called again when descriptor 2 became something else.

    ``environ``: LOG_FORMAT, one of FORMS, and systemd's JOURNAL_STREAM.
    """
    global _form, _render
    be(name)
    form = wanted(environ)
    _form = form if form in FORMS else _by_descriptor(environ)
    if _form == "syslog":
        to_syslog(name)
    elif _form in ("logfmt", "json"):
        # now: behind a chroot there are no modules
        from courierpy.system import logforms
        _render = logforms.RENDER[_form]


def _by_descriptor(environ: Mapping[str, str]) -> str:
    try:
        found = os.fstat(2)
    except OSError:
        return "courier"
    if environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}":
        return "journal"
    kind = found.st_mode & 0o170000
    return "lines" if kind in (0o100000, 0o020000) else "courier"       # a file, a terminal


def behind_logger() -> bool:
    """Is descriptor 2 a pipe that courierlogger, which started us, reads?"""
    try:
        with open(f"/proc/{os.getppid()}/comm", encoding="utf-8") as file:
            return file.read().strip() == "courierlogger"
    except OSError:
        return False


def be(name: str) -> None:
    """From now on the lines are this program's."""
    global _name
    _name = name


def form() -> str:
    """One of FORMS; for LOG_FORMAT of a program that is started by exec."""
    return _form


def kept() -> tuple[str, str, str]:
    """What decides how lines look now, for ``restore``."""
    return _form, _name, _about


def restore(state: tuple[str, str, str]) -> None:
    global _form, _name, _about
    _form, _name, _about = state


def to_syslog(name: str) -> None:
    """From now on to syslog, facility mail, under this name."""
    global _form
    import syslog
    be(name)
    _form = "syslog"
    syslog.openlog(name, syslog.LOG_PID, syslog.LOG_MAIL)


def connect() -> None:
    """What the lines need of the file system is had now: it is out of reach later."""
    global _journal
    time.strftime("%z")
    if _form == "syslog":
        import syslog
        syslog.openlog(_name, syslog.LOG_PID | syslog.LOG_NDELAY, syslog.LOG_MAIL)
    elif _form == "journal":
        door = _journal_door()
        try:
            door.connect(JOURNAL)
        except OSError:
            door.close()               # descriptor 2 leads there too
        else:
            _journal = door


# -- what a line holds

def path(path: bytes) -> str:
    """The path of a file, as quoted(); but names of messages have commas, and are as Courier writes them."""
    return quoted(path, MAX_PATH, _ODD_IN_PATH)


def quoted(text: str | bytes, limit: int = MAX_WORD, odd: frozenset[str] | None = None) -> str:
    """A word of a client: as it is when it is harmless, else in quotes with ``\\xNN`` for what is not.

    Neither a comma nor a bracket is left, so that no reader of logs can take a part of it
    for another field.  Longer ones are cut to ``limit`` characters and end in ``...``.  ``odd``: what is not
    harmless, None for all that is not.
    """
    word = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    cut = word[:limit]
    more = "..." if len(word) > limit else ""
    if cut and cut.isprintable() and not (odd or _ODD).intersection(cut):
        return cut + more
    return '"' + "".join(map(_escaped, cut)) + '"' + more


_ODD = frozenset(' ,"\\[]')
_ODD_IN_PATH = _ODD - {","}
_ESCAPED = _ODD - {" "}


def _escaped(char: str) -> str:
    if char.isprintable() and char not in _ESCAPED:
        return char
    return "".join(f"\\x{octet:02x}" for octet in char.encode("utf-8", "surrogateescape"))


def who(ip: str, port: str, user: str | bytes | None = None, **more: str) -> str:
    """``user=U, ip=[I], port=[P]``, in Courier's words; ``more`` stands behind the user."""
    if user is None and not more:
        return f"ip=[{_bare(ip)}], port=[{_bare(port)}]"
    words = [] if user is None else [f"user={quoted(user)}"]
    words += [f"{key}={quoted(value)}" for key, value in more.items()]
    return ", ".join([*words, f"ip=[{_bare(ip)}]", f"port=[{_bare(port)}]"])


def _bare(word: str) -> str:
    """An address or a port, which come from the environment."""
    return word if word.isprintable() and not _ODD.intersection(word) else quoted(word)


def about(client: str) -> None:
    """Lines of this process that do not say ``client`` (see ``who``) themselves end in it; "": none do."""
    global _about
    _about = client


# -- writing

def _line(priority: str, text: str) -> None:
    before, said, behind = text.partition(_about) if _about else ("", "", "")
    if _about and (not said or "=[" in before + behind):
        # a file's name may be a client's words, its own address among them: only what we add is an address
        text = text[:MAX_LINE - len(_about)].replace("=[", r"=\x5b") + ", " + _about
    clean = text if text.isprintable() else "".join(c if c.isprintable() else "." for c in text)
    data = clean[:2 * MAX_LINE].encode("utf-8", "backslashreplace")
    if _form == "syslog":
        import syslog
        syslog.syslog(PRIORITIES[priority], data.decode())
    elif not (_form == "journal" and _to_journal(priority, data)):
        _to_descriptor(priority, data)


def _to_descriptor(priority: str, data: bytes) -> None:
    word = b"" if priority == "INFO" else b"%s: " % priority.encode()
    if _form in ("logfmt", "json") and _render is not None:
        when, host = _now().split(" ", 1)
        said = {"ts": when, "host": host, "program": _name, "pid": str(os.getpid())}
        head, data = b"", _render(priority, said, data.decode()).encode("utf-8", "backslashreplace")
    elif _form == "lines":
        head = f"{_now()} {_name}[{os.getpid()}]: ".encode() + word
    elif _form == "journal":
        head = b"<%d>" % PRIORITIES[priority]          # sd-daemon(3); the unit's name stands before it
    else:
        head = b"%s: " % priority.encode()
    try:
        os.write(2, head + data + b"\n")
    except OSError:
        pass                           # a log that is gone must not end a session


def _now() -> str:
    """RFC 3339, in local time, and the host."""
    global _second, _stamped
    second = int(time.time())
    if second != _second:
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        _second, _stamped = second, f"{now[:-2]}:{now[-2:]} {os.uname().nodename}"
    return _stamped


def _to_journal(priority: str, data: bytes) -> bool:
    """False where the journal cannot be reached that way."""
    fields = f"PRIORITY={PRIORITIES[priority]}\nSYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER={_name}\n" \
             f"SYSLOG_PID={os.getpid()}\nMESSAGE=".encode() + data + b"\n"
    try:
        if _journal is not None:
            _journal.send(fields)
        else:
            with _journal_door() as door:
                door.sendto(fields, JOURNAL)
    except OSError:
        return False
    return True


def _journal_door() -> socket:
    """A socket of those that the journal reads."""
    import socket
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    door.settimeout(JOURNAL_TIMEOUT)
    return door


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
