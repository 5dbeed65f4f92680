"""One connection in a process of its own: what its dialogue asks is done here, and waited for.

At the end the process becomes the account, and says which program goes on with the client.
"""
from __future__ import annotations

import os
import signal
import sys
import time

from courierpy.auth import Account, Request, TemporaryFailure, check, configured
from courierpy.login import start
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.model.replies import No
from courierpy.model.steps import Forward, Look, Read, Secure, Wait
from courierpy.system import log, proc, programs, title, wayback
from courierpy.system.conn import Gone
from courierpy.system.settings import from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from courierpy.login.onward import Onward
    from courierpy.login.stage import Stage
    from courierpy.model.steps import Accepted, Steps
    from courierpy.system.conn import Conn

    Found = TypeVar("Found")


ENDED = 1                      # exit status of a process that has carried a session


class Alone:
    """A login of one client, in a process of its own.

    ``program``: the next one with its arguments.  ``modules``: who checks passwords; none: as the
    environment says."""

    def __init__(self, stage: Stage, conn: Conn, modules: list[str], program: list[str]) -> None:
        self.stage = stage
        self.conn = conn
        self.program = program
        if modules:
            self.modules = modules
        elif stage.environ.get("COURIERPY_AUTHSOCKET"):
            self.modules = ["authdaemon"]
        else:
            self.modules = configured(stage.environ)
        self.onward: Onward | None = None      # the session is at another host
        conn.deadline = stage.gate.end
        log.about(stage.peer)

    def drive(self, steps: Steps[Found]) -> Found:
        """Until the dialogue is over; what it found."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._do(step)
                except Exception as error:         # the dialogue knows what that means
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as over:
            found: Found = over.value
            return found

    def _do(self, step: object) -> object:
        if isinstance(step, Read):
            return self._read(step.seconds)
        self.conn.flush()
        if isinstance(step, Request):
            return self._check(step)
        if isinstance(step, Forward):
            return self._forward(step)
        if isinstance(step, Look):
            assert isinstance(step.account, Account)
            self._look(step.account)
        elif isinstance(step, Wait):
            time.sleep(max(0.0, step.until - time.monotonic()))
        else:
            assert isinstance(step, Secure)
            self._secure()
        return None

    def _read(self, seconds: float | None) -> bytes:
        return self.conn.read(seconds)

    def _check(self, request: Request) -> Account:
        own = self.stage.environ.get("COURIERPY_AUTHSOCKET")
        # it has its own deadlines; only ours knows of tokens
        if self.modules == ["authdaemon"] and (own or request.kind != "token"):
            return check(self.modules, request)
        from courierpy.auth import apart
        return apart.check(self.modules, request, self.stage.gate.left())

    def _look(self, account: Account) -> None:
        settings = from_environ(self.stage.environ)
        maildir = self._maildir(account) if programs.find(self.program[0]) is not None else ""
        start.look(account, maildir, settings.text("AUTH_MKHOMEDIR_SKEL"), settings.checks_owner)

    def _maildir(self, account: Account) -> str:
        return start.maildir_of(account, self.program[1:], self.stage.environ)

    def _secure(self) -> None:
        """What came in clear before is forgotten."""
        from courierpy.system import tls
        environ = self.stage.environ
        environ.pop(wayback.VARIABLE, None)        # nobody goes on with TLS that is in this process
        try:
            offered = tls.certificates(from_environ(environ))
            self.stage.secured(tls.handshake(self.conn, offered, environ.get("TCPLOCALIP", ""),
                                             max(1.0, self.stage.gate.left())))
        except tls.TlsError as error:
            log.err(f"STARTTLS failed, {self.stage.peer}: {error}")
            raise Gone from None

    def _forward(self, step: Forward) -> Accepted:
        """Raises Rejected and Unreachable; No and Bye, as the session would here (entering.py)."""
        from courierpy.login import welcome
        from courierpy.login.onward import Seeker
        environ = self.stage.environ
        settings, who = from_environ(environ), self.stage.who(step.user)
        welcome.look(settings, step.protocol, step.user, environ["TCPREMOTEIP"], who)
        onward = Seeker(settings, environ).seek(step, self.stage.gate.left())
        try:
            welcome.enter(settings, environ, step.protocol, step.user, os.fstat(self.conn.infd).st_ino,
                          os.getpid(), who)
        except No:
            onward.socket.close()
            raise
        self.onward = onward
        return onward.accepted

    # -- after the login

    def _become(self, account: Account) -> None:
        start.enter(account)

    def _forget_keys(self) -> None:
        """The keys of the certificates are of no use to a session, unless it speaks TLS itself."""
        if self.conn.plain and "courierpy.system.tls" in sys.modules:
            from courierpy.system import tls
            tls.forget()

    def goes_on(self, account: Account, rest: bytes, last_words: bytes) -> programs.Next:
        """Become the account; what goes on with the client.  Raises TemporaryFailure.

        ``rest``: what the client has said behind its login.  ``last_words``: what it reads where no
        program can be started.
        """
        environ = self.stage.environ
        name, *arguments = self.program
        maildir = self._maildir(account)
        arguments = start.with_maildir(arguments, maildir)
        proc.leave_no_core()           # the account may not be able to load what that needs
        try:
            self._become(account)
        except TemporaryFailure as error:
            log.err(f"{error}, {self.stage.who(account.address)}")
            raise
        start.leave_listener(environ)
        start.hand_over(account, maildir, environ)
        account.forget()
        self._forget_keys()
        self.conn.pending = rest
        self.conn.deadline = None
        return programs.Next([name, *arguments], environ, self.conn, last_words)

    def carries(self, account: Account, rest: bytes, onward: Onward) -> int:
        """The session at another host, in this process, which has no right left; gives the exit status: not
        0, for who has a file among those that are on cannot remove it.

        ``rest``: what the client has said behind its login.
        """
        from courierpy.login import between  # for few
        from courierpy.system import confined
        environ = self.stage.environ
        who, protocol = self.stage.who(account.address), environ["PROTOCOL"]
        tail = ", starttls=1" if self.stage.tls else ""
        log.about(who)
        proc.on_signal(_stopped)       # the login is over: what else a signal says is for those before it
        self.conn.flush()              # the answer to the login
        self.conn.deadline = None
        start.leave_listener(environ)
        keeper = decimal(environ.pop("COURIERPY_KEEPER", ""), PID_MOST)
        if keeper is not None:
            os.close(keeper)           # it is for those who have a Maildir
        back = decimal(environ.pop(wayback.VARIABLE, ""), PID_MOST)
        if back is not None:
            os.close(back)
        account.forget()
        self._forget_keys()
        log.info(f"LOGIN, {who}, protocol={protocol}{tail}, proxy={log.quoted(onward.host)}")
        title.be(f"proxy {account.address} [{environ['TCPREMOTEIP']}] {onward.host}")
        began = time.monotonic()
        try:
            confined.enter(confined.folder())
            sent, received = between.carry(self.conn, onward.conn, rest, onward.accepted.rest,
                                           onward.half_close)
        except proc.ProcError as error:
            log.err(f"the session at {onward.host} is given up: {error}, {who}")
            return 1
        log.info(f"DISCONNECTED, {who}, rcvd={sent}, sent={received}, "
                 f"time={int(time.monotonic() - began)}{tail}, proxy={log.quoted(onward.host)}")
        return ENDED


def _stopped(number: int, frame: object) -> None:
    """No word of ours may stand in the middle of what the host says."""
    if number != signal.SIGUSR1:
        os._exit(ENDED)
