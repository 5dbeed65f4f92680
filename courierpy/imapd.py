"""imapd: serve the Maildir in which it is started, until LOGOUT.

Started by a login (IMAPLOGINTAG is set) it finishes the LOGIN with the tagged
OK, and standard error is the log; started from a shell, over ssh or as ``rimapd``
it greets PREAUTH and logs to syslog.  Standard input and output are the client.
"""
from __future__ import annotations

import os
import sys
import time
from functools import partial

from courierpy.entering import TOLD_OPTIONS, Entering, Options, begin, ends, own_alert
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.framer import Frame
from courierpy.imap.session import Session
from courierpy.imap.shortage import LAST_WORDS
from courierpy.model import measures
from courierpy.model.numbers import decimal
from courierpy.model.replies import KICKED, Bye, Slept, TurnedAway
from courierpy.system import about, concluded, inotify, log, memory, metrics, proc, wayback
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import SettingsError, days_of
from courierpy.system.stream import Garbled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

    from courierpy.hibernate.record import Known
    from courierpy.hibernate.woken import Woken
    from courierpy.maildir.store import Store
    from courierpy.system.settings import Settings
else:
    import _signal as signal  # as in system/proc.py

SMAP = "SMAP1"                 # of PROTOCOL: Courier's other protocol, see docs/smap.md
CONNECT_AGAIN = "Please connect again."
EMPTIED_SECONDS = 60.0         # in which nothing in the trash gets too old that was not so at the login
USAGE = f"""
Usage: imapd [-r] [-C FILE] [-U USES] [-T SECONDS] [-D] [-H] [-s] [-N] [-p SSF] [-q] [MAILDIR]
       rimapd [-r] [MAILDIR]

Serve a Maildir over IMAP on standard input and output: $MAILDIR, else MAILDIR,
else ./Maildir.  From a shell, over ssh or from inetd it greets PREAUTH; type

    a SELECT INBOX
    b LOGOUT

{TOLD_OPTIONS}
"courierpy maildirmake MAILDIR" makes a Maildir.  Settings are variables of the
environment, as in etc/imapd: IMAP_LAYOUT=fs imapd ~/Mail
"""


def run() -> None:
    """The ``imapd`` command."""
    proc.leave(main(sys.argv, os.environ))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None) -> int:
    """Gives the exit status.  ``conn`` is set when the login ran in this process."""
    if conn is None:
        status = about.told(argv, USAGE)
        if status is not None:
            return status
        log.start("imapd", environ)
    log.be("imapd")
    try:
        options = Options(argv, environ)
    except SettingsError as error:
        os.write(2, f"imapd: {error}\n".encode("utf-8", "surrogateescape"))
        return os.EX_CONFIG
    daemon = _Imapd(options.argv, options.environ, conn if conn is not None else Conn(0, 1))

    def serve() -> int:
        if conn is None:
            begin(daemon, options.letters)
        return daemon.serve()
    return ends(daemon, lambda: _served(daemon, serve))


def wake(woken: Woken, today: Mapping[str, str], conn: Conn) -> int:
    """Go on for a client whose process ended while it said nothing, already as its user.

    ``today``: the environment, for its descriptors that lead to the keeper, and back to a login.
    """
    from courierpy.hibernate import record, sleeper
    log.be("imapd")
    try:
        known = woken.take()
        conn.go_on(known.layers)       # all that may be said to the client goes through them
    except (record.Damaged, ValueError) as error:
        log.err(f"a connection that slept cannot go on: {error}")
        conn.say_last(lines.told(lines.BYE, CONNECT_AGAIN, b"UNAVAILABLE"))
        conn.end()
        return 1
    daemon = _Imapd(["imapd"], sleeper.settings_of(known, today), conn)
    return ends(daemon, lambda: _served(daemon, lambda: daemon.go_on(woken, known)))


def _served(daemon: _Imapd, serve: Callable[[], int]) -> int:
    """The exit status."""
    try:
        daemon.limit_memory()
        return serve()
    except Slept:
        return daemon.slept()
    except Bye as bye:
        if bye is not LAST_WORDS:
            return daemon.goodbye(bye)
    except Garbled as why:
        return daemon.garbled(why)
    except (Gone, BrokenPipeError):
        daemon.finish("DISCONNECTED")
        return 0
    except TimedOut:
        return daemon.timed_out()
    except (MemoryError, OSError, SystemError, ImportError) as error:
        if not memory.is_short(error):
            raise
    # not above, where the error holds what took the memory
    return daemon.out_of_memory()


class _Imapd(Entering):
    """The start-up steps in Courier's order, and the ways to end, a method each."""

    program = "imapd"

    def __init__(self, argv: list[str], environ: Mapping[str, str], conn: Conn) -> None:
        self.tag = environ.get("IMAPLOGINTAG", "")
        self.speaks_smap = environ.get("PROTOCOL") == SMAP
        super().__init__(argv, environ, conn, behind_login=self.tag != "")
        self.session: Session | None = None
        self.logged_in = self.trash_is_left = self.kicked = False
        self._emptied = False          # all of the trash was looked at, at the login

    def serve(self) -> int:
        self.be_who()
        if not self.tag:               # else courierpy serve told its administrator
            from courierpy.system.findings import wrong_ones  # for few sessions
            for line in wrong_ones(self.environ):
                log.warn(line)
        proc.on_signal(self._on_signal)
        self.look_for_lock()
        self.look_for_notices()
        if self.steps.most > 0:
            self.be_present()
        self.enter_maildir()
        self.run_login_script()
        self.check_owner()
        self.open_store()
        self.open_record()
        self.confine()
        self.check_clock()
        if self.tag:
            self._greet()
        # nothing from here on refuses a client, who may say its first command meanwhile
        if self.presence is None:
            self.be_present()
        self._empty_trash()
        session = self._session()
        if not self.tag:
            self._greet()              # which tells what the session can do
        if self.conn.pending:
            session.framer.feed(self.conn.pending)
            self.conn.pending = b""
        if self.speaks_smap:
            from courierpy.smap.session import Session as SmapSession  # few speak it
            SmapSession(session).serve()
        else:
            self._sleeps(session)
            session.serve()
        self._over(session)
        return 0

    def go_on(self, woken: Woken, known: Known) -> int:
        """In the middle of an IDLE, or between two commands."""
        from courierpy.hibernate import sleeper
        self.be_who()
        proc.on_signal(self._on_signal)
        self.started = known.started
        self.logged_in = True
        self.be_present(int(known.started * 1e9))
        self.conn.rcvd, self.conn.sent = known.rcvd, known.sent + woken.words
        if metrics.current is not None:
            metrics.current.octets_of(self.conn)
        try:
            os.chdir(known.cwd)
        except OSError as error:
            log.err(f"chdir {os.fsdecode(known.cwd)}: {error.strerror}")
            raise Bye("The selected mailbox was deleted.", b"NONEXISTENT") from None
        self.open_store()
        self.confine()
        session = self._session()
        self._sleeps(session, woken)
        try:
            sleeper.restore(session, known)
        except ValueError as error:
            log.err(f"a connection that slept cannot go on: {error}")
            raise Bye(CONNECT_AGAIN, b"UNAVAILABLE") from None
        session.waiting.heard()
        session.serve(Frame([known.tag + b" IDLE"], []) if known.tag else None)
        self._over(session)
        return 0

    # -- before the greeting

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            return                     # meant for one that had not logged in
        self.kicked = number == signal.SIGUSR2
        why = lines.SHUT_DOWN
        if self.kicked:                # as UW's imapd lets go by it
            why = self.presence.told() if self.presence is not None else KICKED
        if self.session is None:
            raise Bye(why)
        self.session.waiting.stop(why)

    def _session(self) -> Session:
        assert self.folders is not None
        self.session = Session(self.conn, self.settings, self.folders, self.who)
        self.session.waiting.presence = self.presence
        if self.steps.base:
            from courierpy.system import notices
            self.session.waiting.refusal = partial(notices.shutdown, self.settings)
        return self.session

    def _sleeps(self, session: Session, woken: Woken | None = None) -> None:
        """Where the listener gave us a way to its keeper, the process may end while the client is silent."""
        door = decimal(self.environ.get("COURIERPY_KEEPER", ""))
        after, quiet = concluded.of(self.settings, _patience)
        if door is not None:
            way = door
            inotify.lend(lambda: _lent(way))
            instance = woken.instance() if woken is not None else -1
            if instance >= 0:
                inotify.inherit(_lent(way, instance))
        if woken is not None or door is not None and after > 0 and self.conn.plain:
            from courierpy.hibernate.sleeper import Sleeper
            session.sleeper = Sleeper(session, -1 if door is None else door, after, quiet, self.started,
                                      self.who, woken)

    def _empty_trash(self) -> None:
        """At the login for a moment, as somebody waits; else until all is done or the process is to stop."""
        spec = self.settings.text("IMAP_EMPTYTRASH")
        if self.folders is None or self.only_reads:
            return
        try:
            if not _has_any(self.folders, concluded.of(self.settings, _emptied)):
                self._emptied = self.session is None   # what comes there meanwhile is not old
                return
        except ValueError as error:
            log.err(f"IMAP_EMPTYTRASH: {error}")
            return
        from courierpy.imap.disposing import teller
        from courierpy.maildir import trash
        session, end = self.session, time.monotonic() + trash.MOMENT

        def goes_on() -> bool:
            return time.monotonic() < end if session is None else not session.waiting.stopping
        self.trash_is_left = not trash.empty(self.folders, spec, goes_on, teller(self.settings, self.who))
        self._emptied = not self.trash_is_left

    def _greet(self) -> None:
        """The last stage that can fail says OK."""
        only = ", only for reading" if self.only_reads else ""
        said = [lines.told(lines.OK, text, b"ALERT") for text in self._alerts()]
        if self.speaks_smap:           # which has no words for an alert
            self.conn.write(b"+OK SMAP1 LOGIN Ok%s.\n" % only.encode())
        elif self.tag:
            self.conn.write_all(said)
            self.conn.write(lines.status(self.tag.encode(), lines.OK, f"LOGIN Ok{only}."))
        else:
            assert self.session is not None
            words = b" ".join(self.session.capabilities())
            self.conn.write(lines.told(lines.PREAUTH, f"Ready{only}.", b"CAPABILITY " + words))
            self.conn.write_all(said)
        self._account_options()
        self.logged_in = True
        try:
            if self.tag and not self.conn.pending:
                self.conn.flush()      # nobody waits for what follows
        finally:
            metrics.count(measures.BEGUN, self.protocol)
            log.info(f"LOGIN, {self.who}, protocol={'SMAP1' if self.speaks_smap else 'IMAP'}"
                     f"{self._starttls()}")

    def _alerts(self) -> list[str]:
        if not self.noticed:
            return []
        from courierpy.system import notices
        return notices.alerts(self.settings, own_alert(self.settings), self.only_reads)

    def _account_options(self) -> None:
        if self.option("disableimap"):
            raise Bye("IMAP access disabled for this account.")
        if self.option("disableinsecureimap") and not self.steps.by_tls:
            raise Bye("IMAP access disabled via insecure connection.")

    # -- the ends

    def _starttls(self) -> str:
        return ", starttls=1" if self.steps.by_tls else ""

    def _numbers(self) -> str:
        headers, body = (self.session.headers, self.session.body) if self.session else (0, 0)
        return (f"headers={headers}, body={body}, rcvd={self.conn.rcvd}, sent={self.conn.sent}, "
                f"time={int(time.monotonic() - self.started)}{self._starttls()}")

    def _over(self, session: Session) -> None:
        """The client has said its last word to this session."""
        self.finish("LOGOUT")
        if session.goes_back:
            if self.presence is not None:
                self.presence.leave()  # the client may log in again before this process is done
            try:
                wayback.give(self.environ, self.conn.infd, session.framer.rest())
                self.conn.let_go()
            except OSError as error:
                log.err(f"a client cannot go back to its login: {error}, {self.who}")
                self.conn.say_last(lines.told(lines.BYE, CONNECT_AGAIN, b"UNAVAILABLE"))
        if not self._emptied or time.monotonic() - self.started > EMPTIED_SECONDS:
            self._empty_trash()

    def finish(self, word: str) -> None:
        if self.logged_in:
            log.info(f"{word}, {self.who}, {self._numbers()}")

    def goodbye(self, bye: Bye) -> int:
        text = "".join(char if char.isprintable() else "?" for char in bye.text)
        code = bye.code
        if isinstance(bye, TurnedAway) and self.tag:
            self.conn.write(b"-ERR %s\n" % text.encode() if self.speaks_smap else
                            lines.status(self.tag.encode(), lines.NO, text, code))
            code = None
        self.conn.say_last(lines.told(lines.BYE, text, code))
        if self.session is not None and self.session.waiting.stopping:
            word = "Ended by the administrator" if self.kicked else "Disconnected during shutdown by signal"
            log.notice(f"{word}, {self.who}, {self._numbers()}")
        elif self.logged_in:
            self.finish("DISCONNECTED")
        return bye.status

    def garbled(self, why: Garbled) -> int:
        log.err(f"what the client sends cannot be read: {why}")
        self.conn.say_last(lines.told(lines.BYE, "What you send cannot be read."))
        self.finish("DISCONNECTED")
        return 0

    def timed_out(self) -> int:
        self.conn.say_last(lines.told(lines.BYE, "Disconnected for inactivity."))
        self.finish("TIMEOUT")
        return 0

    def out_of_memory(self) -> int:
        """IMAP_ULIMITD is less than the session needs to go on."""
        memory.take_reserve()
        if self.session is not None and self.session.selected is not None:
            self.session.selected.forget()
        log.err(f"no memory to go on: IMAP_ULIMITD is {self.settings.text('IMAP_ULIMITD')}, "
                f"{self.who or self.user}")
        return self.goodbye(LAST_WORDS)

    def slept(self) -> int:
        """Another process goes on, under the same file of those who are on."""
        if self.presence is not None:
            self.presence.let_go()
        self.presence, self.trash_is_left = None, False
        if self.session is not None:   # which hears of a signal, and nobody is told
            self.session.selected = None
        return 0

    def close(self) -> None:
        if self.session is not None and self.session.selected is not None:
            inotify.ends()
            try:
                self.session.selected.folder.close(wait=True)
            except MemoryError:
                log.err(f"no memory to save what was learned of {self.session.selected.folder.path}")
        if self.trash_is_left and self.session is not None:
            self._empty_trash()        # whoever went without a LOGOUT left it


def _patience(settings: Settings) -> tuple[int, int]:
    """Seconds of IDLE, and of silence, after which the process of a session may end."""
    return settings.number("IMAP_HIBERNATE"), settings.number("IMAP_HIBERNATE_QUIET")


def _emptied(settings: Settings) -> list[str]:
    """The folders that IMAP_EMPTYTRASH names, "" for the trash.  Raises ValueError for what is none."""
    return [name for name, _ in days_of(settings.text("IMAP_EMPTYTRASH"))]


def _has_any(folders: Store, names: list[str]) -> bool:
    """Is there a folder of these names?  Mostly none is, and nothing more need be loaded."""
    return any(folders.exists(folders.layout.prefix + (name or folders.trash)) for name in names)


def _lent(door: int, made: int = -1) -> inotify.Lent:
    from courierpy.hibernate import hearing
    return hearing.instance(door, made)


def run_rimapd() -> None:
    """The ``rimapd`` command: the same program under the name that clients start."""
    run()


if __name__ == "__main__":
    run()
