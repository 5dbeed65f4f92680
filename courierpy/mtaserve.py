"""The listener for MTAs: sockets of LMTP, with a process for each client; sockets at which an MTA asks for
recipients (mta/desk.py); and the helpers that know the accounts.

It is couriertcpd's younger sister, for programs of this host: who they are the kernel says (lmtp/peer.py),
and the number of those that bring mail is bound by MAXDAEMONS.  ``courierpy serve`` starts it; SIGHUP makes
it read the settings again, SIGTERM ends it: what is being delivered is delivered first.
"""
from __future__ import annotations

import errno
import os
import signal
import time
from functools import partial

from courierpy import lmtpd
from courierpy.auth import configured, tries
from courierpy.listener import children, localsocket
from courierpy.listener.helpers import Helpers
from courierpy.listener.localsocket import LocalSocket, Wrong
from courierpy.listener.loop import Loop
from courierpy.listener.options import UsageError
from courierpy.listener.sockets import turn_away
from courierpy.listener.statistics import Statistics
from courierpy.lmtp.grammar import Reply
from courierpy.lmtp.logins import PROTOCOL
from courierpy.model import measures
from courierpy.mta import verdict
from courierpy.mta.desk import Desk
from courierpy.mta.verdict import Verdicts
from courierpy.system import desk, log, metrics, notify, proc, title
from courierpy.system.seldom import due
from courierpy.system.settings import Settings, SettingsError
from courierpy.system.startup import with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

FAILED = 1                     # exit status
PAUSE = 1.0                    # seconds without a connection where no process can be started
BUSY = Reply(421, "4.3.2", "The server has too much to do, please try again later").line()


class Wanted:
    """Where to listen: words of LMTP_SOCKET and SMMAP_SOCKET.  ``ignores_detail``: as mta/verdict.py."""

    __slots__ = ("ignores_detail", "lmtp", "smmap")

    def __init__(self, lmtp: Sequence[str] = (), smmap: Sequence[str] = (),
                 ignores_detail: bool = False) -> None:
        self.lmtp = list(lmtp)
        self.smmap = list(smmap)
        self.ignores_detail = ignores_detail

    def __bool__(self) -> bool:
        return bool(self.lmtp or self.smmap)


class Listener:
    """The listener for MTAs, from its start to SIGTERM.

    ``load``: gives the settings anew; raises SettingsError."""

    def __init__(self, wanted: Wanted, load: Callable[[], dict[str, str]]) -> None:
        """Raises SettingsError, UsageError."""
        self._wanted = wanted
        self._load = load
        self._environ = load()
        self._statistics = Statistics(self._environ)
        self._stopping = self._again = False
        self._clients: set[int] = set()
        self._closed_until = 0.0
        self._listens = False
        self._lmtp: list[LocalSocket] = []
        self._smmap: list[LocalSocket] = []
        self._helpers: Helpers | None = None
        self._note = ""                # for the service manager: how the last reload ended

    def run(self) -> int:
        """The exit status."""
        settings = Settings(self._environ)
        title.start(settings)
        proc.leave_no_core()
        proc.on_signal(self._told)
        try:
            self._open(settings)
        except (Wrong, ValueError) as error:
            log.crit(f"{'LMTP' if self._wanted.lmtp else 'smmapd'} cannot be served: {error}")
            self._close()
            return FAILED
        self._loop = Loop()
        self._desk = Desk(self._loop, self._look, settings)
        for each in self._smmap:
            self._loop.hear(each.fileno(), partial(self._desk.accept, each.socket))
        self._count()
        self._start_helpers()
        title.be(" ".join(["lmtpd" if self._lmtp else "smmapd", *self._names()]))
        for name, sockets in (("LMTP is", self._lmtp), ("smmapd is", self._smmap)):
            for each in sockets:
                log.info(f"{name} served at {each.place.path or each.place}")
        notify.ready(self._status())
        pulse = notify.Pulse()
        while not self._stopping:
            pulse.turn(self._status)
            self._turn()
        notify.stopping()
        self._close()
        self._desk.stop()
        children.tell_all(self._clients)
        children.wait_for(set(self._clients), lambda: None)
        if self._helpers is not None:
            children.wait_for(self._helpers.stop(), lambda: None)
        metrics.end()
        self._statistics.stop()
        return 0

    def _open(self, settings: Settings) -> None:
        """Raises Wrong, ValueError."""
        groups = {"LMTP": settings.text("LMTP_GROUP"),
                  "SMMAP": settings.text("SMMAP_GROUP") or settings.text("LMTP_GROUP")}
        for kind, words, sockets in (("LMTP", self._wanted.lmtp, self._lmtp),
                                     ("SMMAP", self._wanted.smmap, self._smmap)):
            mode = int(settings.text(f"{kind}_SOCKET_MODE") or "0660", 8)
            gid = localsocket.group_id(f"{kind}_GROUP", groups[kind])
            for word in words:
                at = localsocket.place(word)
                if kind == "LMTP" and at.kind != "unix":
                    raise Wrong(f"{word}: a whole path was expected")
                sockets.append(LocalSocket(at, mode, gid))

    def _close(self) -> None:
        for each in (*self._lmtp, *self._smmap):
            each.close()

    def _names(self) -> list[str]:
        return [each.place.path or str(each.place) for each in (*self._lmtp, *self._smmap)]

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
            for each in self._lmtp:
                if wanted:
                    self._loop.hear(each.fileno(), partial(self._accept, each.socket))
                else:
                    self._loop.forget((each.fileno(),))
        self._loop.turn(1.0)
        self._reap()
        self._desk.tend()
        if metrics.current is not None:
            metrics.current.turn(self._gauges)
        if self._again:
            self._again = False
            self._reload()
        if not self._stopping:
            self._statistics.tend()
            if self._helpers is not None:
                self._helpers.tend()

    def _gauges(self, meter: metrics.Meter) -> None:
        """How it is now, for who watches."""
        name = "lmtp" if self._lmtp else "smmap"
        for measure, state, number in ((measures.SESSIONS, ("awake",), len(self._clients)),
                                       (measures.MOST, (), Settings(self._environ).number("MAXDAEMONS")),
                                       (measures.UP, (), 1)):
            meter.set(measure, name, *state, value=number)

    def _status(self) -> str:
        """For the service manager."""
        said = [f"LMTP: {len(self._clients)} connections"] * bool(self._lmtp) + \
            [f"smmapd: {len(self._desk)} connections"] * bool(self._smmap)
        return ", ".join(said) + self._note

    # -- settings

    def _reload(self) -> None:
        notify.reloading()
        try:
            environ = self._load()
            statistics = Statistics(environ)
        except (SettingsError, UsageError) as error:
            log.err(f"{error}; all stays as it was")
            self._note = "; the settings in force stay"
            notify.ready(self._status())
            return
        self._note = ""
        statistics.go_on(*self._statistics.left())
        self._environ, self._statistics = environ, statistics
        metrics.end()
        self._count()
        self._start_helpers()
        self._desk.renew(Settings(environ))
        log.info("settings read again")
        notify.ready(self._status())

    def _count(self) -> None:
        """From here on, where METRICS wants it."""
        try:
            self._statistics.open()
        except OSError as error:
            log.err(f"nothing is counted: {error.strerror}")
        metrics.begin(self._environ, PROTOCOL, every=1.0)
        self._statistics.tend()

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

    # -- processes

    def _reap(self) -> None:
        for pid, _ in proc.ended():
            if pid in self._clients:
                self._clients.remove(pid)
            elif self._desk.ended(pid) or self._statistics.ended(pid):
                continue
            elif self._helpers is not None:
                self._helpers.ended(pid)

    def _kept(self) -> list[int]:
        """Descriptors that a process needs that serves clients, beside its own."""
        door = self._helpers.door() if self._helpers is not None else -1
        return [*(fd for fd in (door, tries.inherited(self._environ)) if fd >= 0), *self._statistics.kept()]

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                self._pause(f"no connection can be taken: {error.strerror}")
            return
        with client:
            client.setblocking(True)
            metrics.count(measures.CONNECTIONS)
            try:
                self._clients.add(proc.fork(partial(self._serve, client)))
            except OSError as error:
                self._pause(f"no process for a client can be started: {error.strerror}")
                turn_away(client, BUSY)
                metrics.count(measures.REFUSED, "busy")

    def _pause(self, why: str) -> None:
        self._closed_until = time.monotonic() + PAUSE
        if due("LMTP client"):
            log.crit(f"{why}; accepting pauses for {PAUSE:.0f} s")

    def _serve(self, client: socket.socket) -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        children.serve_only(client.fileno(), self._kept(), 0)
        log.be("lmtpd")
        lmtpd.serve(self._environ, False, "")
        return 0

    def _look(self, end: socket.socket) -> int:
        """In a process that looks for recipients."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        metrics.begin({}, PROTOCOL)            # who asked counts
        proc.keep_open((end.fileno(), *self._kept()))
        log.be("smmapd")
        title.be("smmapd: looks for recipients")
        return verdict.work(end, Verdicts(Settings(self._environ), self._wanted.ignores_detail))


def serve(wanted: Wanted, files: Sequence[str], own: Mapping[str, str]) -> int:
    """Until SIGTERM; the exit status.  ``own``: of our environment, what its processes get."""
    def load() -> dict[str, str]:
        return with_files(files, own)

    try:
        listener = Listener(wanted, load)
    except (SettingsError, UsageError) as error:
        log.err(str(error))
        return FAILED
    from courierpy.maildir import mailbox  # noqa: F401  before it forks
    return listener.run()
