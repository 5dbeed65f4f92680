"""The processes that couriertcpd keeps beside those of connections: who starts each, and hears of its end.

Password helpers, login processes, processes for sessions to come, the keeper of idle connections, the logger.
"""
from __future__ import annotations

import os
from functools import partial

from courierpy import doorway, sessions
from courierpy.auth import configured, is_module, tries
from courierpy.hibernate.link import VARIABLE, Sleepers, keeper_possible
from courierpy.imap.grammar import lines as imap_lines
from courierpy.listener import children
from courierpy.listener.options import UsageError
from courierpy.listener.pool import Pool
from courierpy.listener.runfolder import RunFolder
from courierpy.listener.statistics import Statistics
from courierpy.pop3 import lines as pop3_lines
from courierpy.returning import Returns
from courierpy.system import concluded, desk, log, programs, wayback
from courierpy.system.environ import of_transport
from courierpy.system.settings import from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from courierpy.listener.connections import Connection, Connections
    from courierpy.listener.doorway import Doorway
    from courierpy.listener.handover import Handover
    from courierpy.listener.helpers import Helpers
    from courierpy.listener.loop import Loop
    from courierpy.listener.options import Options
    from courierpy.listener.pool import Serve
    from courierpy.system.channels import Order


class Services:
    """Mostly a method to open each kind of them.

    ``helpers``, ``doorway``, ``pool``, ``sleepers``, ``returns``: None where there are none.
    ``login_processes``: how many there are to be.  ``logger``: pid of -stderrlogger, 0 without.  ``tries``:
    descriptor of the table of refused logins, -1 without.  ``run_folder``: where sessions say that they are
    on.  ``program`` and ``arguments``: who greets a client, and what follows; modules that check
    passwords are taken from these by the helpers."""

    def __init__(self, options: Options, environ: dict[str, str], connections: Connections) -> None:
        """Raises UsageError."""
        self.options = options
        self.environ = environ
        self.connections = connections
        self.program, self.arguments = options.rest[1], options.rest[2:]
        ours = programs.find(self.program)
        self.in_process = ours is not None and "exec" not in options.switches
        self.logs_in = ours is not None and ours.logs_in
        self.protocol = ours.protocol if ours is not None else "IMAP"
        environ.update(of_transport(environ, self.protocol, "IMAP"))
        self.login_processes, self._alone = doorway.count(options, self.program, self.arguments, environ)
        self.doorway: Doorway | None = None
        self.pool: Pool | None = None
        self.helpers: Helpers | None = None
        self.sleepers: Sleepers | None = None
        self.returns: Returns | None = None
        self.statistics = Statistics(environ)
        self.logger = 0
        self.tries = -1
        self.run_folder = RunFolder()
        # made here, as each page that a process of sessions writes to is copied
        self._manner = self._manner_of_sessions() if self.login_processes else None
        self._common_of_sessions = concluded.Common({})
        self._kept_by_sessions: list[int] = []

    @property
    def busy(self) -> bytes:
        """What a client hears that cannot be served now."""
        return pop3_lines.BUSY if self.protocol == "POP3" else imap_lines.BUSY

    # -- start

    def open_log(self, fresh: bool, form: Mapping[str, str]) -> None:
        """-stderr is opened anew at SIGHUP; the pipe to -stderrlogger stays.  OSError.  ``form``: what
        decides the form of the log."""
        text = self.options.text
        if text.get("stderr", "socket") != "socket":
            children.open_log(text["stderr"])
            log.start("couriertcpd", form)
        if text.get("stderrlogger") and fresh:
            name = text.get("stderrloggername") or os.path.basename(self.program)
            self.logger = children.start_logger(text["stderrlogger"], name)
            log.start("couriertcpd", {})
        self.environ[log.VARIABLE] = log.form()      # of programs that are started by exec
        if self._alone:
            log.notice(f"IMAP_LOGIN_PROCESSES: each connection has a process of its own: {self._alone}")

    def count_tries(self) -> None:
        """Refused logins are counted for all connections, of another listener of ours and image too."""
        table = tries.inherited(os.environ)
        self.tries = table if table >= 0 else tries.make()
        if self.tries >= 0:
            self.environ[tries.VARIABLE] = os.environ[tries.VARIABLE] = str(self.tries)

    def open_statistics(self, before: Handover | None) -> None:
        """Counts have a place to go to.  OSError."""
        if before is not None:
            self.statistics.go_on(*before.statistics)
        self.statistics.open()

    def open_doorway(self, loop: Loop, begin: Callable[[Connection, Order, int], None],
                     before: Handover | None, rules: Mapping[str, str]) -> None:
        """``begin``: starts a session."""
        self.doorway = doorway.opened(self.login_processes, self.options, self.program, self.protocol,
                                      self.environ, self.tries, self.connections, loop, begin,
                                      before.doorway if before is not None else None, rules, self.busy)

    def start_helpers(self, left: Handover | None, stopping: bool, rules: Mapping[str, str]) -> None:
        """Passwords are checked by processes of their own, started once.  OSError.  ``rules``: by address."""
        modules = self._auth_modules()
        if modules or (left is not None and left.auth[0] >= 0):
            from courierpy.listener.helpers import Helpers
            self.helpers = Helpers(modules, self.environ, children.owner(self.options.text),
                                   left.auth if left is not None else None,
                                   left.helpers if left is not None else set(),
                                   *((*doorway.views(self.protocol, self.arguments, self.environ, rules),
                                      self.doorway.meet)
                                     if self.doorway is not None else ()))
            if not stopping:
                self.helpers.tend()
            if not self.login_processes:           # who logs in here asks by a channel of its own
                self.environ[desk.AUTHSOCKET] = self.helpers.path

    def _auth_modules(self) -> list[str]:
        """The modules for the helpers; none when imaplogin asks somebody else, or is not ours."""
        if not self.in_process or not self.logs_in:
            return []
        words = [word for word in self.arguments if is_module(word)]
        modules = words or configured(self.environ)
        if modules == ["authdaemon"] and not self.login_processes:
            return []
        self.arguments = self.arguments[len(words):]
        return modules

    def start_keeper(self, loop: Loop, left: Handover | None, stopping: bool) -> None:
        """One process keeps idle connections (IMAP_HIBERNATE), and hears for sessions that cannot."""
        before = left.keeper if left is not None else None
        if self.in_process or before is not None:
            self.sleepers = Sleepers(self.connections, before, left.asleep if left is not None else {},
                                     self.run_folder.forget)
            if self.in_process and keeper_possible() and not stopping:
                self.environ[VARIABLE] = str(self.sleepers.door.fileno())
                if (self.login_processes or "tls" not in self.options.switches) and \
                        from_environ(self.environ).number("IMAP_HIBERNATE") > 0:
                    self.sleepers.eager = True
                self.sleepers.tend()
                if not self.sleepers.eager:
                    inner = self.sleepers.inner.fileno()
                    loop.hear(inner, partial(self._keeper_wanted, loop, inner))

    def _keeper_wanted(self, loop: Loop, inner: int) -> None:
        """A session asks for what only the keeper can do."""
        if self.sleepers is not None:
            loop.forget((inner,))
            self.sleepers.eager = True

    def open_returns(self, loop: Loop, heard: Callable[[], None], left: Handover | None) -> None:
        """Sessions may give their clients back, where couriertcpd can go on with these: TLS of a process
        for each connection is in that process.  OSError."""
        before = left.returns if left is not None else None
        words = [word for word in self.arguments if not is_module(word)]
        possible = (self.in_process and self.logs_in and self.protocol == "IMAP"
                    and programs.find((words or [""])[0]) is not None
                    and self.options.text.get("stderr") != "socket"
                    and (self.login_processes > 0 or "tls" not in self.options.switches))
        if not possible and before is None:
            return
        self.returns = Returns(self.connections, before)
        loop.hear(self.returns.end.fileno(), heard)
        if possible:
            self.environ[wayback.VARIABLE] = str(self.returns.way.fileno())

    def close_returns(self, loop: Loop) -> None:
        """Where a session has shut what belongs to all of them."""
        assert self.returns is not None
        log.alert("a session has shut the way back before the login: nobody goes it until the next start")
        self.environ.pop(wayback.VARIABLE, None)
        for end in (self.returns.end, self.returns.way):
            loop.forget((end.fileno(),))
            end.close()
        self.returns = None
        self._tell_sessions()

    # -- sessions

    def open_pool(self, loop: Loop, serve: Serve,
                  before: Callable[[], object]) -> None:
        """As Pool; where a login process asks for sessions."""
        if self.doorway is None:
            return
        if self._manner is None:
            self._manner = self._manner_of_sessions()
        self._tell_sessions()
        settings = from_environ(self.environ)
        ahead = settings.number("IMAP_PREFORK") if self.login_processes else 0
        self.pool = Pool(settings.reuse, settings.number("IMAP_WAITING"), ahead,
                         self.connections, loop, serve, before, self.busy)

    def _tell_sessions(self) -> None:
        """What is the same for all of them is found out once: to look for it would write to the memory of
        each."""
        self._common_of_sessions = concluded.Common(
            sessions.environ_of({"PROTOCOL": self.protocol, **self.environ}))      # as who logs in says
        self._common_of_sessions.prepare()
        self._kept_by_sessions = self.kept()

    def _manner_of_sessions(self) -> sessions.Manner:
        """How processes of sessions live.  UsageError."""
        words = [word for word in self.arguments if not is_module(word)]
        try:
            return sessions.Manner.of(words[1:], from_environ(self.environ), self.busy)
        except ValueError as error:
            raise UsageError(f"{words[0]}: {error}") from None

    def serve(self, link: socket.socket, order: Order | None, fd: int, above: int) -> Callable[[], int]:
        """What such a process does, to its exit status; ``above``: the descriptors of others are below it."""
        assert self._manner is not None            # by now there is a pool
        return partial(sessions.serve, link, order, fd, max(self.above, above), self._kept_by_sessions,
                       self.arguments, self._common_of_sessions, self._manner)

    # -- all of them

    @property
    def asleep(self) -> int:
        """How many sessions have no process."""
        return len(self.sleepers.asleep) if self.sleepers is not None else 0

    @property
    def carried(self) -> int:
        """And how many are at another host, and carried by a login process."""
        return len(self.doorway.outward.carried) if self.doorway is not None else 0

    def dismiss(self) -> None:
        """The administrator ends sessions that have no process."""
        self.run_folder.dismiss([*([self.sleepers] if self.sleepers is not None else []),
                                 *([self.doorway.outward] if self.doorway is not None else [])])

    def kept(self) -> list[int]:
        """Descriptors that the process of a client needs."""
        return [*self.statistics.kept(),
                *([self.sleepers.door.fileno()] if self.sleepers is not None else []),
                *([self.returns.way.fileno()] if self.returns is not None else [])]

    @property
    def above(self) -> int:
        """All descriptors of theirs are below it."""
        rooms = (self.sleepers, self.doorway, self.pool, self.returns)
        return max([3, *(room.above for room in rooms if room is not None)])

    def restock(self) -> None:
        """Start what may be missing since a moment ago, though nobody has ended."""
        if self.pool is not None:
            self.pool.tend()
        if self.sleepers is not None and (not self.sleepers.pid or self.sleepers.asleep):
            self.sleepers.tend()

    def tend(self) -> None:
        """Start what is missing; clear away what is left of sessions."""
        self.run_folder.sweep()
        for each in (self.statistics, self.helpers, self.doorway):
            if each is not None:
                each.tend()
        self.restock()

    def ended(self, pid: int, status: int) -> None:
        """This process has ended, which had no connection.  ``status``: as waitpid(2) has it."""
        if pid == self.logger:
            log.crit("the logger ended")
        elif self.statistics.ended(pid) \
                or self.sleepers is not None and self.sleepers.ended(pid, status) \
                or self.doorway is not None and self.doorway.ended(pid):
            return
        elif self.helpers is not None:
            self.helpers.ended(pid)

    def left(self, left: Handover) -> None:
        """What the next image needs to know of them."""
        if self.pool is not None:
            self.pool.hurry()
        if self.helpers is not None:
            left.helpers = self.helpers.all()
            left.auth = self.helpers.address()
        if self.sleepers is not None:
            left.keeper, left.asleep = self.sleepers.left(), self.sleepers.asleep
        if self.doorway is not None:
            left.doorway = self.doorway.left()
        if self.returns is not None:
            left.returns = self.returns.left()
        left.statistics = self.statistics.left()
        left.logger = self.logger

    def stop(self, others: set[int], meanwhile: Callable[[], object]) -> None:
        """Tell all to end, and ``others``; until they have.  ``meanwhile``: is done again and again."""
        kept = self.sleepers.end() if self.sleepers is not None else set()
        if self.pool is not None:
            self.pool.refuse()
        pids = set(others)
        for room in (self.doorway, self.pool):
            if room is not None:
                pids |= room.pids()
        children.tell_all(pids)
        helpers = self.helpers.stop() if self.helpers is not None else set()
        children.wait_for(pids | kept | helpers, meanwhile)
        if self.sleepers is not None:
            self.sleepers.last_words()
        self.statistics.stop()
        self.run_folder.close()
