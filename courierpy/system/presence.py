"""Who is on: a small file for each session, below RUNDIRECTORY.

    RUNDIRECTORY/PID.TICK/NAME        a session of the listener that is process PID, started at that tick
    RUNDIRECTORY/PID.TICK/told/NAME   what the administrator has to say to it
    RUNDIRECTORY/others/NAME          a session that has no listener of ours

Everybody may put a file into such a folder, and only its owner changes it (mode 1777, as of /tmp);
RUNDIRECTORY itself and ``told`` are the listener's.  So a file is believed as far as the kernel agrees:

* awake, idle: its process is there, was started at that tick, and is who owns the file;
* asleep: the session has no process, and its file stays as it is; its listener is there;
* proxied: the session is at another host.  Its file is its listener's, or root's, and names the process that
  carries it, where it has one of its own: that is somebody else.

A process that was killed leaves a file that nobody believes.  NAME is the inode of the session's socket,
which is the same for whoever holds it, and a check sum of protocol and user: who counts the sessions of a
user reads no others.

A session writes over what its file says, as another file in its place costs fifty times as much where the
folder is on a disk.  So a file begins with a check sum of what follows, and who reads in the middle of that
reads again.
"""
from __future__ import annotations

import os
import time
from binascii import crc32

from courierpy.model.numbers import PID_MOST, decimal
from courierpy.model.replies import KICKED
from courierpy.system import log, proc, readonly
from courierpy.system.channels import pack, unpack
from courierpy.system.regular import open_regular, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = "COURIERPY_SESSIONS"        # the listener's folder, in the environment of its sessions
SETTING = "RUNDIRECTORY"
OTHERS, TOLD = "others", "told"
AWAKE, IDLE, ASLEEP = "awake", "idle", "asleep"
PROXIED = "proxied"                    # at another host
EVERYBODY = 0o1777
MOST_OCTETS = 16384                    # of a file
MOST_SHOWN = 400                       # characters of a word of the administrator
READS = 20                             # of a file whose check sum is not right, before it is none,
READ_AGAIN = 0.005                     # seconds between two: who writes it has no processor, perhaps;
READ_SECONDS = 1.0                     # in which one waits so: anybody can put files there that are none
UNSTAMPED_SECONDS = 0.2                # that a session has from its file to the moment that it says in it


class Seen:
    """What a file says of a session.  ``began``: on the monotonic clock, in nanoseconds, 0 as long as that is
    not said; ``tick``: at which its process ``pid`` was started, in the kernel's clock ticks since the boot.
    ``uid``: who owns the file."""

    __slots__ = ("began", "folder", "ip", "mailbox", "name", "pid", "port", "protocol", "state", "tick",
                 "uid", "user")

    def __init__(self, folder: str, name: str, uid: int, said: Mapping[str, str]) -> None:
        """Raises KeyError and ValueError for a file that no session wrote."""
        self.folder = folder
        self.name = name
        self.uid = uid
        self.user, self.ip, self.port = said["user"], said["ip"].removeprefix("::ffff:"), said["port"]
        self.protocol, self.mailbox, self.state = said["protocol"], said["mailbox"], said["state"]
        numbers = [decimal(said[name]) for name in ("began", "pid", "tick")]
        if None in numbers:
            raise ValueError("numbers were expected")
        self.began, self.pid, self.tick = (number or 0 for number in numbers)

    @property
    def since(self) -> int:
        """Seconds since 1970."""
        return int(time.time() - (time.monotonic_ns() - self.began) / 1e9)

    @property
    def has_process(self) -> bool:
        return self.state != ASLEEP and (self.state != PROXIED or self.pid > 0)

    def lives(self) -> bool:
        """Is there such a session, as far as the kernel knows?"""
        if not self.has_process:
            return listener_of(self.folder) != 0
        try:
            return self.pid > 0 and started(self.pid) == self.tick \
                and (self.uid == 0 or proc.identity(self.pid)[0] == self.uid)
        except OSError:
            return False


def started(pid: int) -> int:
    """The tick at which a process was started; 0 where there is none, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            words = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in (b"Z", b"X") else int(words[19])


def listener_of(folder: str) -> int:
    """The pid of the listener whose folder this is, 0 where it has ended."""
    pid, tick = _listener(os.path.basename(folder))
    return pid if pid and (started(pid) == tick or _is_hidden(pid)) else 0


def _is_hidden(pid: int) -> bool:
    """Is there such a process, of somebody else, that /proc keeps from us (hidepid)?  A session sees no
    listener of root's then; files of sessions are judged by its own processes, which it sees."""
    if os.path.exists(f"/proc/{pid}/stat"):
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False                       # it is ours, and just now it was not there


def is_folder(name: str) -> bool:
    """Is a folder of this name a listener's, there or not any more?"""
    return _listener(name)[0] > 0


def _listener(name: str) -> tuple[int, int]:
    """(pid, tick) of the listener whose folder has this name; (0, 0): of none."""
    pid, _, tick = name.partition(".")
    numbers = decimal(pid, PID_MOST), decimal(tick)
    return (numbers[0] or 0, numbers[1] or 0) if None not in numbers else (0, 0)


def inode_of(name: str) -> int:
    """Of the socket whose session has a file of this name; -1 for a name that is none."""
    inode, _, check = name.partition(".")
    number = decimal(inode)
    return -1 if number is None or not check else number


def sessions(base: str, protocol: str = "", user: str = "") -> Iterator[Seen]:
    """All sessions below RUNDIRECTORY, or those of a protocol and user.  OSError where ``base`` cannot be
    read."""
    check = _check(protocol, user) if user else ""
    for name in sorted(os.listdir(base)):
        folder = os.path.join(base, name)
        if name == OTHERS or listener_of(folder):
            for found in seen(folder, check):
                if found.lives() and (not user or (found.user, found.protocol) == (user, protocol)):
                    yield found


def seen(folder: str, check: str = "") -> Iterator[Seen]:
    """What the files in a folder say, true or not.  ``check``: of these names only."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    end = time.monotonic() + READ_SECONDS
    for name in sorted(name for name in names if name.endswith(check) and inode_of(name) >= 0):
        found = read(folder, name, time.monotonic() < end)
        if found is not None:
            yield found


def read(folder: str, name: str, waits: bool = True) -> Seen | None:
    """None for a file that is none of a session, or not there any more.  ``waits``: for who is writing it."""
    try:
        # of one file, though anybody may put another one, or a link, in its place
        with open(open_regular(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW), "rb", 0) as file:
            for _ in range(READS):
                data = octets_of(os.pread(file.fileno(), MOST_OCTETS, 0))
                if data is not None:
                    return Seen(folder, name, os.fstat(file.fileno()).st_uid, unpack(data))
                time.sleep(READ_AGAIN if waits else 0)
    except (OSError, KeyError, ValueError):
        pass
    return None


def octets(said: Mapping[str, str]) -> bytes:
    """What a file holds that says this."""
    data = pack(said)
    return b"%08x%s" % (crc32(data), data)


def octets_of(file: bytes) -> bytes | None:
    """What follows the check sum, and was packed; None where that is another's."""
    data = file[8:].rstrip(b"\0")      # which fill it where it said more before
    return data if file[:8] == b"%08x" % crc32(data) else None


def _check(protocol: str, user: str) -> str:
    return f".{crc32(f'{protocol} {user}'.encode('utf-8', 'surrogateescape')):08x}"


class Presence:
    """The file of this session.  What cannot be written ends nothing: there is no file then.  ``is_counted``:
    others of its user may be refused while it is there."""

    def __init__(self, folder: str, name: str, said: dict[str, str], keeps_open: bool = False) -> None:
        """``keeps_open``: the file that is made stays open until leave() or let_go()."""
        self._folder = folder
        self._name = name
        self._path = f"{folder}/{name}"
        self._said = said
        self._there = self._written = self.is_counted = False
        self._keeps_open = keeps_open
        self._fd = -1                  # of the file, while it is open

    @classmethod
    def of(cls, environ: Mapping[str, str], fd: int, protocol: str, user: str,
           peer: tuple[str, str]) -> Presence | None:
        """Of a session whose client is at ``fd``; None where there is no place for its file.  ``peer``:
        address and port of the client."""
        folder = environ.get(VARIABLE, "")
        if not folder and environ.get(SETTING):
            folder = os.path.join(environ[SETTING], OTHERS)
            with readonly.Lifted():
                try:
                    os.mkdir(folder)
                    os.chmod(folder, EVERYBODY)
                except OSError:
                    pass               # it is there, or entering it says why not
        if not folder:
            return None
        try:
            name = f"{os.fstat(fd).st_ino}{_check(protocol, user)}"
        except OSError:
            return None                # the client is gone
        return cls(folder, name, _says(protocol, user, peer, AWAKE, os.getpid()), keeps_open=True)

    @classmethod
    def elsewhere(cls, environ: Mapping[str, str], inode: int, protocol: str, user: str,
                  peer: tuple[str, str], pid: int) -> Presence | None:
        """Of a session at another host, of a listener of ours.  ``inode``: of the socket of its client, or of
        that to the host; ``pid``: of the process that carries it, 0 for one that has many."""
        folder = environ.get(VARIABLE, "")
        if not folder:
            return None
        return cls(folder, f"{inode}{_check(protocol, user)}", _says(protocol, user, peer, PROXIED, pid))

    @classmethod
    def left(cls, folder: str, name: str) -> Presence:
        """Of a session that has a file."""
        found = cls(folder, name, {})
        found._there = found._written = True
        return found

    @property
    def name(self) -> str:
        return self._name

    def enter(self, began: int = 0) -> None:
        """``began``: of a session that goes on; else now."""
        self._there = True
        self._said["began"] = str(began or time.monotonic_ns())
        self._write()

    def enter_as_one_of(self, most: int) -> bool:
        """As enter(), where the user may have so many sessions of the protocol.  False: there are as many,
        and this is none.

        A session has a file before it reads the clock, and counts those that began before it: of two that
        come at once one sees the other, and the same one goes first for both.
        """
        self._there = True
        self._write()
        self._said["began"] = str(time.monotonic_ns())
        if self._there:
            self._write()
        try:
            if not self._there or self._before_us() < most:
                return True
        except OSError as error:
            log.err(f"{error.filename}: {error.strerror}: how many sessions there are cannot be told")
            return True
        self.leave()
        return False

    def _before_us(self) -> int:
        mine = int(self._said["began"]), self._name
        count = 0
        for other in sessions(os.path.dirname(self._folder), self._said["protocol"], self._said["user"]):
            if other.name != self._name and other.uid == os.geteuid():     # not what somebody else says
                found: Seen | None = other
                end = time.monotonic() + UNSTAMPED_SECONDS
                while found is not None and not found.began and time.monotonic() < end:
                    time.sleep(0.001)
                    found = read(other.folder, other.name)
                count += found is not None and found.began > 0 and (found.began, found.name) < mine
        return count

    def be(self, mailbox: str, idles: bool = False, sleeps: bool = False) -> None:
        """How it is, from now on.  ``mailbox``: that is selected, "" for none."""
        said = self._said
        state = ASLEEP if sleeps else IDLE if idles else AWAKE
        if (said["mailbox"], said["state"]) != (mailbox, state):
            said["mailbox"], said["state"] = mailbox, state
            if self._there:
                self._write()

    def leave(self) -> None:
        """The session is over: its file goes."""
        self.let_go()
        if self._there:
            self._there = False
            with readonly.Lifted():
                remove(self._path)

    def let_go(self) -> None:
        """Another process may say how the session is; for this one nothing of the file is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def told(self) -> str:
        """What the administrator has to say to who is ended."""
        return word(self._folder, self._name)

    def _write(self) -> None:
        if self._is_put():
            return
        path, new = self._path, f"{self._folder}/.{os.getpid()}"
        with readonly.Lifted():
            try:
                if not self._written and self._is_made(path):
                    self._written = True
                    return             # a moment ago there was none: who came too soon reads none yet
                if _written_over(path, self._said):
                    self._written = True
                    return
                if not _made(new, self._said):
                    os.unlink(new)     # of a process that was killed
                    _made(new, self._said)
                os.rename(new, path)   # whoever reads it finds one state or the other
                self._written = True
            except OSError as error:
                self._there = False
                self.let_go()
                log.debug(f"{path}: {error.strerror}: the session is not told by who")
                remove(new)
                remove(path)          # which says what is true no more

    def _is_put(self) -> bool:
        """Into the open file.  False where there is none, or it has not the name any more."""
        try:
            if self._fd >= 0 and _put_over(self._fd, self._said):
                return True
        except OSError:                # no room, perhaps: who makes another finds out
            pass
        self.let_go()
        return False

    def _is_made(self, path: str) -> bool:
        """As _made(); stays open where that is wanted."""
        if not self._keeps_open:
            return _made(path, self._said)
        self._fd = _opened_new(path)
        if self._fd >= 0:
            os.write(self._fd, octets(self._said))
        return self._fd >= 0


def _made(path: str, said: Mapping[str, str]) -> bool:
    """Make the file; False where there is one.  OSError."""
    fd = _opened_new(path)
    if fd < 0:
        return False
    try:
        os.write(fd, octets(said))
    finally:
        os.close(fd)
    return True


def _opened_new(path: str) -> int:
    """The descriptor of a file that is made; -1 where there is one.  OSError."""
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileExistsError:
        return -1


def _written_over(path: str, said: Mapping[str, str]) -> bool:
    """Write into the file; False where it is none of ours.  OSError."""
    try:
        fd = open_regular(path, os.O_WRONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return _put_over(fd, said)
    finally:
        os.close(fd)


def _put_over(fd: int, said: Mapping[str, str]) -> bool:
    """Write into an open file; False where it is none of ours, or has another name or none.  OSError."""
    found = os.fstat(fd)
    # whoever may make files here may have made it, a link to a file of ours too
    if (found.st_uid, found.st_nlink, found.st_mode & 0o7777) != (os.geteuid(), 1, 0o600) \
            or found.st_size > MOST_OCTETS:
        return False
    data = octets(said).ljust(found.st_size, b"\0")
    return os.pwrite(fd, data, 0) == len(data)


def _says(protocol: str, user: str, peer: tuple[str, str], state: str, pid: int) -> dict[str, str]:
    return {"user": user, "ip": peer[0], "port": peer[1], "protocol": protocol, "mailbox": "", "state": state,
            "began": "0", "pid": str(pid), "tick": str(_tick_of(pid) if pid else 0)}


_own = 0, 0                            # our pid, and the tick at which this process was started


def _tick_of(pid: int) -> int:
    """As started(), which takes as long as to write a file; of this process it stays the same."""
    global _own
    if pid != os.getpid():
        return started(pid)
    if _own[0] != pid:
        _own = pid, started(pid)
    return _own[1]


def word(folder: str, name: str) -> str:
    """What the administrator has to say to the session whose file is this."""
    try:
        text = whole(os.path.join(folder, TOLD, name), MOST_OCTETS)
    except OSError:
        return KICKED
    return shown(text.decode("utf-8", "replace"))[:MOST_SHOWN] or KICKED


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: str) -> None:
    """If it is there, and can be."""
    try:
        os.unlink(path)
    except OSError:
        return


def shown(text: str) -> str:
    """As one line that no terminal and no protocol takes for anything else."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
