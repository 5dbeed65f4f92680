"""The listener of LMTP: a unix socket, a process for each client, and the helpers that know the accounts.

It is couriertcpd's younger sister, for programs of this host: who they are the kernel says (lmtp/peer.py),
and their number is bound by MAXDAEMONS.  ``courierpy serve`` starts it; SIGHUP makes it read the settings
again, SIGTERM ends it: what is being delivered is delivered first.
"""
from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import time
from functools import partial

from courierpy import lmtpd
from courierpy.auth import configured
from courierpy.listener import children
from courierpy.listener.helpers import Helpers
from courierpy.listener.loop import Loop
from courierpy.model.numbers import decimal
from courierpy.system import desk, log, notify, proc, title
from courierpy.system.settings import Settings, SettingsError, parse_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BACKLOG = 128
FAILED = 1                     # exit status
PAUSE = 1.0                    # seconds without a connection where no process can be started


class Wrong(Exception):
    """The socket cannot be made; str() says why, and what to do."""


def listen_at(path: str, mode: int, group: str) -> socket.socket:
    """A unix socket that is as it should be before anybody can connect.  One of this name that nobody
    listens at is replaced.  Raises Wrong."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        gid = _number_of(group)
        _make_way(path)
        umask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        os.chown(path, -1, gid)
        os.chmod(path, mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise Wrong(f"{path}: {error.strerror or error}; a path of at most 107 octets in a directory of ours "
                    "was expected") from None
    except Wrong:
        sock.close()
        raise
    return sock


def _number_of(group: str) -> int:
    if not group:
        return -1
    import grp
    try:
        number = decimal(group)
        return grp.getgrnam(group).gr_gid if number is None else number
    except KeyError:
        raise Wrong(f"LMTP_GROUP: there is no group {group}") from None


def _make_way(path: str) -> None:
    """OSError, Wrong."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Wrong(f"{path}: something else is there; name another, or remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise Wrong(f"{path}: another program listens there: end it, or name another")
    os.unlink(path)


class Listener:
    """``load``: gives the settings anew; raises SettingsError."""

    def __init__(self, path: str, load: Callable[[], dict[str, str]]) -> None:
        self._path = path
        self._load = load
        self._environ = load()
        self._stopping = self._again = False
        self._clients: set[int] = set()
        self._closed_until = 0.0
        self._listens = False
        self._helpers: Helpers | None = None
        self._note = ""                # for the service manager: how the last reload ended

    def run(self) -> int:
        """The exit status."""
        settings = Settings(self._environ)
        title.start(settings)
        proc.leave_no_core()
        proc.on_signal(self._told)
        mode = int(settings.text("LMTP_SOCKET_MODE") or "0660", 8)
        try:
            self._socket = listen_at(self._path, mode, settings.text("LMTP_GROUP"))
        except (Wrong, ValueError) as error:
            log.crit(f"LMTP cannot be served: {error}")
            return FAILED
        own = os.lstat(self._path)
        self._loop = Loop()
        self._start_helpers()
        title.be(f"lmtpd {self._path}")
        log.info(f"LMTP is served at {self._path}")
        notify.ready(self._status())
        pulse = notify.Pulse()
        while not self._stopping:
            pulse.turn(self._status)
            self._turn()
        notify.stopping()
        self._socket.close()
        children.tell_all(self._clients)
        children.wait_for(set(self._clients), lambda: None)
        if self._helpers is not None:
            children.wait_for(self._helpers.stop(), lambda: None)
        _unlink_own(self._path, own)
        return 0

    def _told(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
        elif number == signal.SIGHUP:
            self._again = True

    def _turn(self) -> None:
        most = Settings(self._environ).number("MAXDAEMONS")
        wanted = len(self._clients) < most and time.monotonic() >= self._closed_until
        if wanted != self._listens:
            self._listens = wanted
            if wanted:
                self._loop.hear(self._socket.fileno(), self._accept)
            else:
                self._loop.forget((self._socket.fileno(),))
        self._loop.turn(1.0)
        self._reap()
        if self._again:
            self._again = False
            self._reload()
        if self._helpers is not None and not self._stopping:
            self._helpers.tend()

    def _status(self) -> str:
        """For the service manager."""
        return f"LMTP: {len(self._clients)} connections{self._note}"

    def _reload(self) -> None:
        notify.reloading()
        try:
            self._environ = self._load()
        except SettingsError as error:
            log.err(f"{error}; all stays as it was")
            self._note = "; the settings in force stay"
            notify.ready(self._status())
            return
        self._note = ""
        self._start_helpers()
        log.info("settings read again")
        notify.ready(self._status())

    def _start_helpers(self) -> None:
        """Those before finish what they are at; clients that know their socket ask the next ones there."""
        before, self._helpers = self._helpers, None
        self._environ.pop(desk.AUTHSOCKET, None)
        modules = configured(self._environ)
        if modules == ["authdaemon"]:
            if before is not None:
                before.stop()
        else:
            try:
                left = None if before is None else (os.dup(before.address()[0]), before.path)
                self._helpers = Helpers(modules, self._environ, -1, left, before.all() if before else ())
            except OSError as error:           # each client asks the modules itself
                log.err(f"there can be no password helper: {error.filename}: {error.strerror}")
                return
            self._environ[desk.AUTHSOCKET] = self._helpers.path
            self._helpers.tend()

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._clients:
                self._clients.remove(pid)
            elif self._helpers is not None:
                self._helpers.ended(pid)

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                log.crit(f"no connection can be taken: {error.strerror}")
                self._closed_until = time.monotonic() + PAUSE
            return
        with client:
            client.setblocking(True)
            try:
                self._clients.add(proc.fork(partial(self._serve, client)))
            except OSError as error:
                log.crit(f"no process for a client can be started: {error.strerror}")
                self._closed_until = time.monotonic() + PAUSE

    def _serve(self, client: socket.socket) -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        door = self._helpers.door() if self._helpers is not None else -1
        children.serve_only(client.fileno(), [door] if door >= 0 else [], 0)
        log.be("lmtpd")
        lmtpd.serve(self._environ, False, "")
        return 0


def _unlink_own(path: str, own: os.stat_result) -> None:
    """Unless another listener has taken the name."""
    try:
        if os.path.samestat(os.lstat(path), own):
            os.unlink(path)
    except OSError:
        return


def serve(path: str, files: Sequence[str], own: Mapping[str, str]) -> int:
    """Until SIGTERM; the exit status.  ``own``: of our environment, what its processes get."""
    def load() -> dict[str, str]:
        values: dict[str, str] = {}
        for name in files:
            values = parse_file(name, values)
        return {**own, **values}

    try:
        listener = Listener(path, load)
    except SettingsError as error:
        log.err(str(error))
        return FAILED
    from courierpy.maildir import mailbox  # noqa: F401  before it forks
    return listener.run()
