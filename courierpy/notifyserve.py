"""notifyd while it runs: events in at a unix socket, each on disk at once, and out by processes of its own.

One process hears and keeps the queue; each try is a child, so that a URL that hangs or a program that goes
wrong holds up nobody but its own kind.  A child that is at work outlives notifyd, holds the lock of its
entry, and ends what it is at (newmail/queue.py).

Who may tell what: root, our own user and NOTIFYD_TRUSTED of anybody's mail; any other user of this host of
his own.  The kernel says who it is that tells (SCM_CREDENTIALS, unix(7)).
"""
from __future__ import annotations

import fcntl
import heapq
import os
import signal
import socket
import time
from functools import partial

from courierpy.listener import children
from courierpy.listener.localsocket import Wrong, make_way
from courierpy.listener.loop import Loop
from courierpy.model.numbers import decimal
from courierpy.newmail import methods
from courierpy.newmail.errors import Gone, Later, Refused
from courierpy.newmail.event import MAX_OCTETS, Event
from courierpy.newmail.queue import LONGEST_PAUSE, Entry, Queue
from courierpy.newmail.secret import Secret
from courierpy.newmail.tokens import GoneTokens
from courierpy.system import log, notify, passing, proc, seldom, title
from courierpy.system.settings import Settings, SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = 1                     # exit status
AT_A_TIME = 4                  # tries of one method
GRACE = 10.0                   # seconds beyond NOTIFYD_TIMEOUT until a try is killed
AGAIN = 5.0                    # seconds until an entry is looked at again that another process is at
SHARE = 10                     # of the queue at most one part in so many is one user's
DONE, LATER, BUSY, GONE = 0, 75, 76, 77        # exit statuses of a try


def bound(path: str, mode: int) -> socket.socket:
    """The socket at ``path``; one that was left over there is replaced.  Raises Wrong."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        make_way(path, socket.SOCK_DGRAM)
        umask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        os.chmod(path, mode)
    except OSError as error:
        sock.close()
        raise Wrong(f"{path}: {error.strerror or error}; a path of at most 107 octets in a directory of ours "
                    "was expected") from None
    except Wrong:
        sock.close()
        raise
    return sock


def owner(name: str) -> tuple[int, int, str]:
    """uid, gid and name of who notifyd is to be.  Raises Wrong."""
    import pwd
    if not name:
        if os.geteuid() == 0:
            raise Wrong("NOTIFYD_USER names no user: notifyd does nothing as root, make it one of its own")
        return os.geteuid(), os.getegid(), ""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Wrong(f"NOTIFYD_USER: there is no user {name}") from None
    if entry.pw_uid == 0:
        raise Wrong("NOTIFYD_USER: not root, make a user of its own")
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def make_folder(path: str, uid: int, gid: int) -> None:
    """The folder of the queue, which is that user's alone.  Raises Wrong."""
    try:
        made = not os.path.isdir(path)
        if made:
            umask = os.umask(0o022)    # of what is above it: that user must come there
            try:
                os.makedirs(path, 0o700)
            finally:
                os.umask(umask)
            if uid != os.geteuid():
                os.chown(path, uid, gid)
        found = os.stat(path)
    except OSError as error:
        raise Wrong(f"NOTIFYD_QUEUE: {path}: {error.strerror}") from None
    if found.st_uid != uid:
        raise Wrong(f"NOTIFYD_QUEUE: {path}: it is uid {found.st_uid}'s, and must be uid {uid}'s")
    if found.st_mode & 0o022:
        raise Wrong(f"NOTIFYD_QUEUE: {path}: others can write there, mode must be 0700")


class Server:
    """notifyd, from its start to SIGTERM.

    ``load``: gives the settings anew; raises SettingsError.  ``path``: of the socket, "" for that on
    descriptor 0."""

    def __init__(self, path: str, load: Callable[[], dict[str, str]]) -> None:
        self._path = path
        self._load = load
        self._settings = Settings(load())
        self._stopping = self._again = False
        self._entries: dict[str, Entry] = {}
        self._due: dict[str, list[tuple[float, str]]] = {name: [] for name in methods.QUEUED}
        self._tries: dict[int, tuple[str, float]] = {}         # pid -> entry, when it is killed
        self._of: dict[str, int] = {}                          # user -> entries
        self._trusted: set[int] = set()
        self._secret = Secret()

    def run(self) -> int:
        """The exit status."""
        title.start(self._settings)
        proc.leave_no_core()
        proc.on_signal(self._told)
        try:
            self._start()
        except (Wrong, OSError, ValueError, proc.ProcError) as error:
            log.crit(f"notifyd cannot start: {error}")
            return FAILED
        title.be(f"notifyd {self._path}")
        log.info(f"new mail is told at {self._path or 'descriptor 0'}, {len(self._entries)} waiting")
        notify.ready(self._status())
        pulse = notify.Pulse()
        while not self._stopping:
            pulse.turn(self._status)
            self._turn()
        notify.stopping()
        self._loop.forget((self._socket.fileno(),))
        self._socket.close()
        try:
            os.unlink(self._path)                  # else it is replaced at the next start
        except OSError:
            pass
        until = time.monotonic() + self._settings.number("NOTIFYD_TIMEOUT") + GRACE
        while self._tries and time.monotonic() < until:        # what is being told is told
            self._loop.turn(0.2)
            self._reap()
        return 0

    def _start(self) -> None:
        """Wrong, OSError, ProcError."""
        settings = self._settings
        uid, gid, name = owner(settings.text("NOTIFYD_USER"))
        folder = settings.text("NOTIFYD_QUEUE")
        make_folder(folder, uid, gid)
        self._secret.read(settings.text("NOTIFYD_SECRET_FILE"))
        self._socket = bound(self._path, int(settings.text("NOTIFYD_SOCKET_MODE") or "0666", 8)) \
            if self._path else socket.socket(fileno=os.dup(0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        proc.become(uid, gid, name or None)
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Wrong(f"{folder}: another notifyd has this queue") from None
        self._know()
        self._queue = Queue(folder)
        self._gone = GoneTokens(folder)
        for entry in self._queue.load():
            if entry.method in self._due:
                self._wait_for(entry)
        self._loop = Loop()
        self._loop.hear(self._socket.fileno(), self._hear)

    def _know(self) -> None:
        """Who may tell of anybody's mail."""
        import pwd
        self._trusted = {0, os.geteuid()}
        for word in self._settings.words("NOTIFYD_TRUSTED"):
            uid = decimal(word)
            try:
                self._trusted.add(pwd.getpwnam(word).pw_uid if uid is None else uid)
            except KeyError:
                log.err(f"NOTIFYD_TRUSTED: there is no user {word}")

    def _told(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
        elif number == signal.SIGHUP:
            self._again = True

    def _status(self) -> str:
        """For the service manager."""
        return f"{len(self._entries)} notifications waiting, {len(self._tries)} on their way"

    def _turn(self) -> None:
        self._loop.turn(min(1.0, max(0.01, self._next() - time.time())))
        self._reap()
        if self._again:
            self._again = False
            self._reload()
        if not self._stopping:
            self._begin()

    def _reload(self) -> None:
        notify.reloading()
        try:
            settings = Settings(self._load())
            self._secret.read(settings.text("NOTIFYD_SECRET_FILE"))
            self._settings = settings
            self._know()
            log.info("settings read again")
            if self._secret.old:
                log.warn("NOTIFYD_SECRET_FILE: it is another file now, which our user may not read: the "
                         "secret stays until notifyd is started again")
        except (SettingsError, ValueError) as error:
            log.err(f"{error}; all stays as it was")
        notify.ready(self._status())

    # -- in

    def _hear(self) -> None:
        for _ in range(64):            # then those that wait have their turn
            try:
                data, more, _, _ = self._socket.recvmsg(MAX_OCTETS + 1, passing.WHO_SPACE)
            except BlockingIOError:
                return
            except OSError as error:
                log.err(f"nothing can be heard: {error.strerror}")
                return
            _, who = passing.unpacked(more)
            uid = -1 if who is None else who[1]
            try:
                event = Event.of(data)
                if not self._believed(uid, event.user):
                    raise ValueError(f"uid {uid} may not tell of mail of {log.quoted(event.user)}")
            except ValueError as error:
                if seldom.due(f"event of uid {uid}"):
                    log.warn(f"an event of uid {uid} is not taken: {error}")
                continue
            self._take(event)

    def _believed(self, uid: int, user: str) -> bool:
        import pwd
        if uid in self._trusted:
            return True
        try:
            return pwd.getpwuid(uid).pw_name == user
        except (KeyError, OverflowError):
            return False

    def _take(self, event: Event) -> None:
        tokens, event.tokens = event.tokens, ()    # each has a task of its own
        words = map(str.lower, self._settings.words("NOTIFYD_METHODS"))
        for word in dict.fromkeys(words) if event.wanted else ():
            if word == "log":
                methods.write_log(event.user, event.mailbox, event.ident)
            elif word in methods.QUEUED and word != methods.TOKEN and not (word == "mailto" and event.ours):
                self._add(word, event, "")
        if self._settings.text("NOTIFYD_TOKEN_URL"):
            for token in dict.fromkeys(tokens):
                if not self._gone.knows(token):
                    self._add(methods.TOKEN, event, token)

    def _add(self, method: str, event: Event, token: str) -> None:
        most = self._settings.number("NOTIFYD_QUEUE_MOST")
        if len(self._entries) >= most or self._of.get(event.user, 0) >= max(SHARE, most // SHARE):
            if seldom.due("queue"):
                log.warn(f"the queue is full ({len(self._entries)}): what comes is not told")
            return
        try:
            self._wait_for(self._queue.add(method, event, token))
        except OSError as error:
            if seldom.due("disk"):
                log.err(f"{self._queue.folder}: what comes is not told: {error.strerror}")

    # -- out

    def _wait_for(self, entry: Entry) -> None:
        """It is in the queue, on disk and here."""
        if entry.name not in self._entries:
            self._of[entry.event.user] = self._of.get(entry.event.user, 0) + 1
        self._entries[entry.name] = entry
        # a clock that was wrong then does not make it wait for ever
        heapq.heappush(self._due[entry.method], (min(entry.due, time.time() + LONGEST_PAUSE), entry.name))

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            user = entry.event.user
            self._of[user] -= 1
            if not self._of[user]:
                del self._of[user]

    def _running(self, method: str) -> int:
        return sum(self._entries[name].method == method for name, _ in self._tries.values()
                   if name in self._entries)

    def _next(self) -> float:
        """When the next try is due, seconds since 1970; or something is to be looked at."""
        return min((heap[0][0] for method, heap in self._due.items()
                    if heap and self._running(method) < AT_A_TIME), default=time.time() + 1)

    def _begin(self) -> None:
        now = time.time()
        attempt = Try(self._queue, self._settings, self._secret.text)
        for method, heap in self._due.items():
            while heap and heap[0][0] <= now and self._running(method) < AT_A_TIME:
                _, name = heapq.heappop(heap)
                entry = self._entries[name]
                if method == methods.TOKEN and self._gone.knows(entry.token):
                    self._queue.remove(entry)
                    self._forget(name)
                    continue
                try:
                    # it outlives us: what it is at must not be done again
                    pid = proc.fork(partial(attempt.run, name), 0, lambda number, frame: None)
                except OSError as error:
                    if seldom.due("process"):
                        log.crit(f"no process can be started: {error.strerror}")
                    heapq.heappush(heap, (now + AGAIN, name))
                    return
                end = time.monotonic() + self._settings.number("NOTIFYD_TIMEOUT") + GRACE
                self._tries[pid] = (name, end)

    def _reap(self) -> None:
        for pid, (_, end) in list(self._tries.items()):
            if time.monotonic() > end:
                children.tell_all([pid], signal.SIGKILL)
        for pid, status in proc.ended():
            if pid in self._tries:
                name, _ = self._tries.pop(pid)
                self._tried(name, os.waitstatus_to_exitcode(status))

    def _tried(self, name: str, status: int) -> None:
        entry = self._entries[name]
        if status == BUSY:
            heapq.heappush(self._due[entry.method], (time.time() + AGAIN, name))
            return
        if status == GONE:
            self._gone.add(entry.token)
        if status in (DONE, GONE):
            self._forget(name)
            return
        entry.postpone(time.time())                # as the child has written it
        if status != LATER:
            log.err(f"a try to tell by {entry.method} was lost ({status})")
            if entry.is_stale(self._settings.number("NOTIFYD_HOURS")):
                self._queue.remove(entry)
                self._forget(name)
                return
            try:
                self._queue.put(entry)
            except OSError as error:
                log.err(f"{self._queue.folder}: {error.strerror}")
        self._wait_for(entry)


class Try:
    """One try, in a process of its own.  ``secret``: of the webhook."""

    def __init__(self, queue: Queue, settings: Settings, secret: str) -> None:
        self._queue = queue
        self._settings = settings
        self._secret = secret

    def run(self, name: str) -> int:
        """The exit status."""
        proc.keep_open()
        log.be("notifyd")
        try:
            begun = self._queue.begin(name)
        except ValueError as error:
            log.err(f"{name}: it is left alone: {error}")
            return DONE
        if begun is None:
            return BUSY if os.path.exists(os.path.join(self._queue.folder, name)) else DONE
        with begun as entry:
            title.be(f"notifyd: {entry.method}")
            try:
                return self._tell(entry)
            except Exception as error:         # it is tried again, as after a kill
                log.crit(f"{name}: {type(error).__name__}: {error}")
                return proc.CRASHED

    def _tell(self, entry: Entry) -> int:
        event = entry.event
        which = f"user={log.quoted(event.user)}, mailbox={log.quoted(event.mailbox)}, " \
                f"method={entry.method}, id={event.ident}"
        try:
            methods.QUEUED[entry.method](entry, self._settings, self._secret)
        except Gone as error:
            log.info(f"NOBODY TO NOTIFY, {which}: {error}")
            self._queue.remove(entry)
            return GONE
        except Refused as error:
            log.err(f"NOT NOTIFIED, {which}: {error}")
        except Later as error:
            if self._goes_on(entry):
                log.warn(f"NOTIFIED LATER, {which}, tries={entry.tries}: {error}")
                return LATER
            log.err(f"NOT NOTIFIED, {which}, tries={entry.tries}: {error}")
        else:
            log.info(f"NOTIFIED, {which}")
        self._queue.remove(entry)
        return DONE

    def _goes_on(self, entry: Entry) -> bool:
        """Put it off; False where it has waited for so long that nobody wants to hear of it."""
        entry.postpone(time.time())
        if entry.is_stale(self._settings.number("NOTIFYD_HOURS")):
            return False
        try:
            self._queue.put(entry)
        except OSError as error:
            log.err(f"{self._queue.folder}: {error.strerror}")
        return True


def serve(path: str, load: Callable[[], dict[str, str]]) -> int:
    """Until SIGTERM; the exit status."""
    # before it is another user, who may not be able to read the library, and before it forks
    import encodings.ascii
    import encodings.idna  # noqa: F401  which a name of a host is looked up by
    import hashlib  # noqa: F401
    import http.client  # noqa: F401
    import ipaddress  # noqa: F401
    import ssl  # noqa: F401
    import urllib.parse  # noqa: F401
    try:
        server = Server(path, load)
    except SettingsError as error:
        log.err(str(error))
        return FAILED
    return server.run()
