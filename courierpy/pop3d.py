"""pop3d: serve the INBOX of the Maildir in which it is started over POP3, until QUIT.

Started by a login it greets as Courier's does, when all is in order, and standard error is the log; from a
shell, over ssh or from inetd it does the same for who starts it, and logs to syslog.  Standard input and
output are the client.
"""
from __future__ import annotations

import os
import signal
import stat
import sys
import time

from courierpy.entering import FROM_LOGIN, TOLD_OPTIONS, Entering, Options, begin, ends
from courierpy.maildir.errors import StoreError
from courierpy.model import measures
from courierpy.model.replies import KICKED, Bye
from courierpy.pop3 import lines
from courierpy.pop3.maildrop import Maildrop
from courierpy.pop3.session import Session
from courierpy.system import about, log, memory, metrics, proc, programs
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import SettingsError
from courierpy.system.stream import Garbled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE = f"""
Usage: pop3d [-r] [-C FILE] [-U USES] [-T SECONDS] [-D] [-H] [-s] [-N] [-p SSF] [-q] [MAILDIR]
       ipop3d [-r] [MAILDIR]

Serve the INBOX of a Maildir over POP3 on standard input and output: $MAILDIR,
else MAILDIR, else ./Maildir.  From a shell, over ssh or from inetd nobody has to
log in; type

    LIST
    QUIT

{TOLD_OPTIONS}
ipop3d that root's inetd starts is "pop3login pop3d Maildir": its client logs in.
Settings are variables of the environment, as in etc/pop3d.
"""


def run() -> None:
    """The ``pop3d`` command."""
    sys.exit(main(sys.argv, os.environ))


def run_ipop3d() -> None:
    """The ``ipop3d`` command, by which UW's was known."""
    words = sys.argv[1:]
    if os.geteuid() == 0 and not words and stat.S_ISSOCK(os.fstat(0).st_mode) and not _logged_in(os.environ):
        sys.exit(programs.run(["pop3login", "pop3d", "Maildir"], os.environ, None, inside=True))
    sys.exit(main(["ipop3d", *words], os.environ))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None) -> int:
    """Gives the exit status.  ``conn`` is set when the login ran in this process."""
    if conn is None:
        status = about.told(argv, USAGE)
        if status is not None:
            return status
        log.start("pop3d", environ)
    log.be("pop3d")
    try:
        options = Options(argv, environ)
    except SettingsError as error:
        os.write(2, f"pop3d: {error}\n".encode("utf-8", "surrogateescape"))
        return os.EX_CONFIG
    daemon = _Pop3d(options.argv, options.environ, conn if conn is not None else Conn(0, 1),
                    _logged_in(environ))
    return ends(daemon, lambda: _served(daemon, options.letters if conn is None else {}))


def _logged_in(environ: Mapping[str, str]) -> bool:
    return all(environ.get(name) for name in FROM_LOGIN)


def _served(daemon: _Pop3d, letters: Mapping[str, list[str]]) -> int:
    """The exit status."""
    try:
        daemon.limit_memory()
        begin(daemon, letters)
        return daemon.serve()
    except Bye as bye:
        return daemon.goodbye(bye)
    except Garbled as why:
        log.err(f"what the client sends cannot be read: {why}")
        daemon.finish("DISCONNECTED")
    except (Gone, BrokenPipeError):
        daemon.finish("DISCONNECTED")
    except TimedOut:
        daemon.finish("TIMEOUT")       # without a word: RFC 1939 3
    except (MemoryError, OSError, SystemError, ImportError) as error:
        if not memory.is_short(error):
            raise
        memory.take_reserve()
        log.err(f"no memory to go on: IMAP_ULIMITD is {daemon.settings.text('IMAP_ULIMITD')}, {daemon.who}")
        return daemon.goodbye(Bye("There is not enough memory for this here.", b"SYS/TEMP", 1))
    return 0


class _Pop3d(Entering):
    """The start-up steps in Courier's order, and the ways to end."""

    program, protocol = "pop3d", "POP3"

    def __init__(self, argv: list[str], environ: Mapping[str, str], conn: Conn, behind_login: bool) -> None:
        super().__init__(argv, environ, conn, behind_login)
        self.session: Session | None = None
        self.maildrop: Maildrop | None = None
        self.greeted = self.stopped = self.kicked = False

    def serve(self) -> int:
        """The exit status.  Raises Bye, Gone, TimedOut and Garbled."""
        self.be_who()
        if not self.behind_login:      # else courierpy serve told its administrator
            from courierpy.system.findings import wrong_ones  # for few sessions
            for line in wrong_ones(self.environ):
                log.warn(line)
        proc.on_signal(self._on_signal)
        self.look_for_lock()
        self.look_for_notices()
        self.be_present()
        if self.option("disablepop3"):
            raise Bye("POP3 access disabled for this account.", status=1)
        if self.option("disableinsecurepop3") and not self._tls():
            raise Bye("POP3 access disabled via insecure connection.", status=1)
        self.enter_maildir()
        self.run_login_script()
        self.check_owner()
        self.open_store()
        self.open_record()
        self.confine()
        self.check_clock()
        self._refuse_sooner()
        session = self._session()
        self._greet()
        session.serve()
        self.finish("LOGOUT")
        return 0

    def _enforced(self) -> bool:
        return (self.behind_login and not self.only_reads and self.settings.flag("POP3_LOGIN_DELAY_ENFORCED")
                and self.settings.number("POP3_LOGIN_DELAY") > 0)

    def _refuse_sooner(self) -> None:
        """Raises Bye where the last login was less than POP3_LOGIN_DELAY seconds ago, and is to count."""
        if not self._enforced():
            return
        from courierpy.pop3 import sooner  # few want it
        left = sooner.seconds_left(self.settings.number("POP3_LOGIN_DELAY"))
        if left:
            log.info(f"TOO SOON, {self.who}, seconds={left}")
            raise Bye(f"You were here a moment ago, please wait {left} more seconds.", b"LOGIN-DELAY")

    def _session(self) -> Session:
        assert self.folders is not None
        try:
            self.maildrop = Maildrop(self.folders, self.only_reads)
        except StoreError as why:
            log.err(f"{why}, {self.who}")
            raise Bye("Your mailbox cannot be opened now, try again later.", b"SYS/TEMP", 1) from None
        self.session = Session(self.conn, self.settings, self.maildrop, self.who)
        if self.conn.pending:
            self.session.lines.feed(self.conn.pending)
            self.conn.pending = b""
        return self.session

    def _greet(self) -> None:
        """The last stage that can fail says +OK."""
        self.conn.write(lines.ok("logged in, only for reading." if self.only_reads else "logged in."))
        self.greeted = True
        if self._enforced():
            from courierpy.pop3 import sooner
            sooner.came()
        metrics.count(measures.BEGUN, self.protocol)
        log.info(f"LOGIN, {self.who}{self._stls()}")

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            return                     # meant for one that had not logged in
        self.kicked = number == signal.SIGUSR2
        self.stopped = True
        why = lines.SHUT_DOWN
        if self.kicked:
            why = self.presence.told() if self.presence is not None else KICKED
        if self.session is None or self.session.reads:
            raise Bye(why, b"SYS/TEMP")
        self.session.stopped = why

    # -- the ends

    def _tls(self) -> bool:
        return self.settings.flag("POP3_TLS") or self.settings.flag("IMAP_TLS")

    def _stls(self) -> str:
        return ", stls=1" if self._tls() else ""

    def _numbers(self) -> str:
        top, retr = (self.session.octets_of_top, self.session.octets_of_retr) if self.session else (0, 0)
        return (f"top={top}, retr={retr}, rcvd={self.conn.rcvd}, sent={self.conn.sent}, "
                f"time={int(time.monotonic() - self.started)}{self._stls()}")

    def finish(self, word: str) -> None:
        """The line for the log."""
        if self.greeted:
            log.info(f"{word}, {self.who}, {self._numbers()}")

    def goodbye(self, bye: Bye) -> int:
        """The last line for the client; the exit status."""
        self.conn.say_last(lines.err(bye.text, bye.code))
        if self.stopped and self.greeted:
            word = "Ended by the administrator" if self.kicked else "Disconnected during shutdown by signal"
            log.notice(f"{word}, {self.who}, {self._numbers()}")
        else:
            self.finish("DISCONNECTED")
        return bye.status

    def close(self) -> None:
        """Let go of the maildrop."""
        if self.maildrop is not None:
            self.maildrop.close()
        if self.folders is not None:
            self.folders.save()


if __name__ == "__main__":
    run()
