"""imapd: serve the Maildir in which it is started, until LOGOUT.

Started by a login (IMAPLOGINTAG is set) it finishes the LOGIN with the tagged
OK, and standard error is the log; started from a shell, over ssh or as ``rimapd``
it greets PREAUTH and logs to syslog.  Standard input and output are the client.
"""
from __future__ import annotations

import os
import signal
import sys
import time

from courierpy.imap.grammar import lines
from courierpy.imap.grammar.framer import Frame
from courierpy.imap.session import Session
from courierpy.imap.shortage import LAST_WORDS
from courierpy.maildir.errors import StoreError
from courierpy.model.numbers import decimal
from courierpy.model.replies import Bye
from courierpy.system import about, inotify, log, memory, proc, readonly, title
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.programs import WITH_VALUE
from courierpy.system.regular import open_regular
from courierpy.system.settings import Settings, from_environ, wrong_ones
from courierpy.system.stream import Garbled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.hibernate.record import Known
    from courierpy.hibernate.woken import Woken
    from courierpy.maildir.store import Store

MAX_CLOCK_SKEW = 30.0          # seconds between this host and the file server
WRONG_WORDS = 2                # exit status
OTHERS = "Your mailbox cannot be opened; the log of your mail administrator has the reason."
CONNECT_AGAIN = "Please connect again."
USAGE = """
Usage: imapd [-r] [-U USES] [-T SECONDS] [MAILDIR]
       rimapd [-r] [MAILDIR]

Serve a Maildir over IMAP on standard input and output: $MAILDIR, else MAILDIR,
else ./Maildir.  From a shell, over ssh or from inetd it greets PREAUTH; type

    a SELECT INBOX
    b LOGOUT

  -r              only read: nothing is changed or written, as with IMAP_READONLY=1
  -U USES         behind couriertcpd with login processes: sessions that a process serves (250)
  -T SECONDS      and how long it waits for the next one (60), 0 for any time
  -h, --help      tell this
  -V, --version   tell the version

"courierpy maildirmake MAILDIR" makes a Maildir.  Settings are variables of the
environment, as in etc/imapd: IMAP_LAYOUT=fs imapd ~/Mail
"""


def run() -> None:
    """The ``imapd`` command."""
    sys.exit(main(sys.argv, os.environ))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None) -> int:
    """Gives the exit status.  ``conn`` is set when the login ran in this process."""
    if conn is None:
        status = about.told(argv, USAGE)
        if status is not None:
            return status
        log.start("imapd", environ)
    log.be("imapd")
    argv, environ = _without_options(argv, environ)
    daemon = _Imapd(argv, environ, conn if conn is not None else Conn(0, 1))
    return _ends(daemon, daemon.serve)


def _without_options(argv: list[str], environ: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
    """As the options say.  How often a process serves is couriertcpd's affair: alone it does once."""
    name, *words = argv
    while words:
        if words[0] == "-r":
            environ, words = {**environ, "IMAP_READONLY": "1"}, words[1:]
            continue
        own = words[0][2:]
        if words[0][:2] not in WITH_VALUE or decimal(own or "".join(words[1:2])) is None:
            break
        words = words[1 if own else 2:]
    return [name, *words], environ


def wake(woken: Woken, door: str, conn: Conn) -> int:
    """Go on for a client whose process ended while it idled, already as its user.

    ``door``: the descriptor that leads to the keeper, "" where nobody sleeps any more.
    """
    from courierpy.hibernate import record, sleeper
    log.be("imapd")
    try:
        known = woken.take()
    except record.Damaged as error:
        log.err(f"a connection that slept cannot go on: {error}")
        conn.say_last(lines.told(lines.BYE, CONNECT_AGAIN, b"UNAVAILABLE"))
        conn.end()
        return 0
    daemon = _Imapd(["imapd"], sleeper.settings_of(known, door), conn)
    return _ends(daemon, lambda: daemon.go_on(woken, known))


def _ends(daemon: _Imapd, serve: Callable[[], int]) -> int:
    daemon.set_umask()
    if daemon.only_reads:
        readonly.begin()
    try:
        return _served(daemon, serve)
    finally:
        daemon.conn.end()
        daemon.close()                 # nobody waits for us any more
        readonly.end()


def _served(daemon: _Imapd, serve: Callable[[], int]) -> int:
    """The exit status."""
    try:
        daemon.limit_memory()
        return serve()
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


class _Imapd:
    """The start-up steps in Courier's order, and the ways to end, a method each."""

    def __init__(self, argv: list[str], environ: Mapping[str, str], conn: Conn) -> None:
        self.argv = argv
        self.environ = environ
        self.conn = conn
        self.settings: Settings = from_environ(environ)
        self.only_reads = self.settings.flag("IMAP_READONLY")
        self.started = time.monotonic()
        self.tag = environ.get("IMAPLOGINTAG", "")
        self.user = environ.get("AUTHENTICATED", "")
        self.peer = environ.get("TCPREMOTEIP", "")
        self.port = environ.get("TCPREMOTEPORT", "")
        self.who = ""
        self.folders: Store | None = None
        self.session: Session | None = None
        self.logged_in = False

    def serve(self) -> int:
        self._who()
        if not self.tag:               # else courierpy serve told its administrator
            for line in wrong_ones(self.environ):
                log.warn(line)
        proc.on_signal(self._on_signal)
        self._locked_account()
        self._enter_maildir()
        self._login_script()
        self._owner()
        self._open_store()
        self._record()
        self._empty_trash()
        self._clock()
        session = self._session()
        if self.conn.pending:
            session.framer.feed(self.conn.pending)
            self.conn.pending = b""
        self._sleeps(session)
        self._greet()
        session.serve()
        self.finish("LOGOUT")
        self._empty_trash()
        return 0

    def go_on(self, woken: Woken, known: Known) -> int:
        """In the middle of an IDLE, or between two commands."""
        from courierpy.hibernate import sleeper
        self._who()
        proc.on_signal(self._on_signal)
        self.started = known.started
        self.logged_in = True
        self.conn.rcvd, self.conn.sent = known.rcvd, known.sent + woken.words
        try:
            os.chdir(known.cwd)
        except OSError as error:
            log.err(f"chdir {os.fsdecode(known.cwd)}: {error.strerror}")
            raise Bye("The selected mailbox was deleted.", b"NONEXISTENT") from None
        self._open_store()
        session = self._session()
        self._sleeps(session, woken)
        try:
            sleeper.restore(session, known)
        except ValueError as error:
            log.err(f"a connection that slept cannot go on: {error}")
            raise Bye(CONNECT_AGAIN, b"UNAVAILABLE") from None
        session.serve(Frame([known.tag + b" IDLE"], []) if known.tag else None)
        self.finish("LOGOUT")
        self._empty_trash()
        return 0

    # -- before the greeting

    def set_umask(self) -> None:
        """IMAP_UMASK; where it is not set, what we were started with and at least 022."""
        wanted = self.settings.umask()
        os.umask(os.umask(0o077) | 0o022 if wanted is None else wanted)

    def limit_memory(self) -> None:
        """IMAP_ULIMITD.  Nothing is loaded after it: what a module does to which memory is refused in the
        middle of its start nobody knows."""
        kib = self.settings.number("IMAP_ULIMITD")
        if kib > 0:
            if "courierpy.preload" not in sys.modules:         # no listener did it
                import syslog  # noqa: F401

                import pyinotify  # noqa: F401

                from courierpy import preload
                preload.preload()
            memory.limit(kib)

    def _who(self) -> None:
        self._whose()
        self.who = log.who(self.peer, self.port, self.user)
        log.about(self.who)
        title.start(self.settings)
        title.be(f"imapd {self.user} [{self.peer}]")

    def _whose(self) -> None:
        if self.tag:
            missing = [name for name in ("AUTHENTICATED", "TCPREMOTEIP", "TCPREMOTEPORT")
                       if not self.environ.get(name)]
            if missing:
                log.err(f"IMAPLOGINTAG is set, {' and '.join(missing)} not: imaplogin sets all of them; "
                        "unset IMAPLOGINTAG to start imapd without a login")
                raise Bye(f"{missing[0]} environment variable not set.", status=1)
            return
        self.peer, self.port = "127.0.0.1", "0"
        if not os.isatty(2) and not self.environ.get("IMAP_LOG"):
            log.to_syslog("imapd")     # some clients read our descriptor 2 as they read 1
        if not self.user:
            import pwd
            uid = os.getuid()
            try:
                self.user = pwd.getpwuid(uid).pw_name
            except KeyError:
                self.user = f"uid-{uid}"       # in a container nobody may have a name; the mail is there

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            return                     # meant for one that had not logged in
        if self.session is None:
            raise Bye(lines.SHUT_DOWN)
        self.session.waiting.stop()

    def _locked_account(self) -> None:
        """The sticky bit on the home directory locks the account."""
        try:
            sticky = os.stat(".").st_mode & 0o1000
        except OSError:
            sticky = 0
        if sticky and self.tag:
            log.info(f"LOCKED, {self.who}")
            raise Bye("Your account is temporarily unavailable (+t bit set on home directory).")

    def _enter_maildir(self) -> None:
        given = self.argv[1] if len(self.argv) > 1 else ""
        path = self.environ.get("MAILDIR") or given or "./Maildir"
        if path == given and given.startswith("-") and not os.path.lexists(given):
            raise Bye(f"There is no option {given}; imapd --help tells what there is.", b"ALERT", WRONG_WORDS)
        try:
            os.chdir(path)
        except OSError as error:
            why = error.strerror or str(error)
            log.err(f"chdir {proc.absolute(path)}: {why}; a Maildir was expected there "
                    '("courierpy maildirmake" makes one)')
            raise Bye(self._no_maildir(path, error), b"ALERT", 1) from None

    def _no_maildir(self, path: str, error: OSError) -> str:
        """The reason for the client.  Who named the path, in a shell or over ssh, reads it; who came
        over the network reads of no path, and that the mend is not his."""
        if self.tag:
            return OTHERS
        if isinstance(error, FileNotFoundError):
            return f'There is no Maildir at {path}: name another, or make it: courierpy maildirmake {path}'
        if isinstance(error, NotADirectoryError):
            return f"{path} is no directory, and a Maildir is one: name another."
        return f"{path} cannot be entered: {error.strerror}: a Maildir of your own was expected."

    def _login_script(self) -> None:
        """IMAP_LOGINEXEC: ./loginexec, if executable, runs once; success removes it.

        Whoever may write to the Maildir could put it there, so it is off by default.
        """
        if self.only_reads or not self.settings.flag("IMAP_LOGINEXEC"):
            return
        try:
            if not os.stat("loginexec").st_mode & 0o100:
                return
            pid = os.posix_spawn("./loginexec", ["./loginexec"], dict(self.environ),
                                 file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
            _, status = os.waitpid(pid, 0)
            if status == 0:
                os.unlink("loginexec")
        except FileNotFoundError:
            return
        except OSError as error:
            log.err(f"loginexec: {error.strerror}")

    def _owner(self) -> None:
        if self.settings.checks_owner:
            mine = os.stat(".")
            if (mine.st_uid, mine.st_gid) != (os.geteuid(), os.getegid()):
                log.err(f"{os.getcwd()} belongs to uid {mine.st_uid}, gid {mine.st_gid}; "
                        f"uid {os.geteuid()}, gid {os.getegid()} was expected: chown it, or set "
                        "IMAP_MAILBOX_SANITY_CHECK=0")
                raise Bye("Fatal error: Account's mailbox directory is not owned by the correct "
                          "uid or gid: ", b"ALERT", 1)

    def _open_store(self) -> None:
        from courierpy.maildir.store import Store
        try:
            self.folders = Store.of(self.settings, self.environ.get("HOSTNAME"), self.user)
            whole = self.folders.layout.is_there()
        except StoreError as error:
            log.err(f"{self.user}: {error}")
            whole = False
        if not whole:
            here = os.getcwd()
            log.err(f"{self.user}: {here}: no Maildir: it has no cur, new and tmp, nor mailboxes that "
                    'IMAP_LAYOUT knows ("courierpy maildirmake" makes one)')
            raise Bye(OTHERS if self.tag else
                      f"{here} is no Maildir: name another, or make it: courierpy maildirmake {here}",
                      b"ALERT", 1)

    def _session(self) -> Session:
        assert self.folders is not None
        self.session = Session(self.conn, self.settings, self.folders, self.user, self.peer, self.port)
        return self.session

    def _sleeps(self, session: Session, woken: Woken | None = None) -> None:
        """Where the listener gave us a way to its keeper, the process may end while the client idles."""
        door = decimal(self.environ.get("COURIERPY_KEEPER", ""))
        after = self.settings.number("IMAP_HIBERNATE")
        if door is not None:
            way = door
            inotify.lend(lambda: _lent(way))
            instance = woken.instance() if woken is not None else -1
            if instance >= 0:
                inotify.inherit(_lent(way, instance))
        if woken is not None or door is not None and after > 0 and self.conn.plain:
            from courierpy.hibernate.sleeper import Sleeper
            session.sleeper = Sleeper(session, -1 if door is None else door, after, self.started,
                                      self.who, woken)

    def _record(self) -> None:
        """IMAPDEBUGFILE in the Maildir, if it is there already, gets the dialogue; a
        directory gets a file for each session."""
        name = self.settings.text("IMAPDEBUGFILE")
        if name:
            flags = os.O_WRONLY | os.O_APPEND
            if os.path.isdir(name):
                name = os.path.join(name, str(os.getpid()))
                flags |= os.O_CREAT
            try:
                self.conn.record = open_regular(name, flags)
            except OSError:
                return

    def _empty_trash(self) -> None:
        spec = self.settings.text("IMAP_EMPTYTRASH")
        if spec and self.folders is not None and not self.only_reads:
            from courierpy.maildir import trash
            try:
                trash.empty(self.folders, spec)
            except ValueError as error:
                log.err(f"IMAP_EMPTYTRASH: {error}")

    def _clock(self) -> None:
        """A file server whose clock is elsewhere would break every age rule."""
        assert self.folders is not None
        tmp = os.path.join(self.folders.layout.inbox, "tmp")
        path = os.path.join(tmp, f"courier-imap.clockskew.chk.{os.getpid()}")
        try:
            if os.major(os.stat(tmp).st_dev):
                return             # a disk of our own, which has our clock
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
            skew = os.stat(path).st_mtime - time.time()
            os.unlink(path)
        except OSError:
            return                 # read-only or not a whole Maildir: SELECT will say
        if abs(skew) > MAX_CLOCK_SKEW:
            raise Bye("Clock skew detected. Check the clock on the file server")

    def _greet(self) -> None:
        """The last stage that can fail says OK."""
        only = ", only for reading" if self.only_reads else ""
        if self.tag:
            self.conn.write(lines.status(self.tag.encode(), lines.OK, f"LOGIN Ok{only}."))
        else:
            assert self.session is not None
            words = b" ".join(self.session.capabilities())
            self.conn.write(lines.told(lines.PREAUTH, f"Ready{only}.", b"CAPABILITY " + words))
        self._account_options()
        self.logged_in = True
        log.info(f"LOGIN, {self.who}, protocol=IMAP{self._starttls()}")

    def _account_options(self) -> None:
        options = dict(part.partition("=")[::2] for part in self.environ.get("OPTIONS", "").split(","))
        if _true(options.get("disableimap", "0")):
            raise Bye("IMAP access disabled for this account.")
        if _true(options.get("disableinsecureimap", "0")) and not self.settings.flag("IMAP_TLS"):
            raise Bye("IMAP access disabled via insecure connection.")

    # -- the ends

    def _starttls(self) -> str:
        return ", starttls=1" if self.settings.flag("IMAP_TLS") else ""

    def _numbers(self) -> str:
        headers, body = (self.session.headers, self.session.body) if self.session else (0, 0)
        return (f"headers={headers}, body={body}, rcvd={self.conn.rcvd}, sent={self.conn.sent}, "
                f"time={int(time.monotonic() - self.started)}{self._starttls()}")

    def finish(self, word: str) -> None:
        if self.logged_in:
            log.info(f"{word}, {self.who}, {self._numbers()}")

    def goodbye(self, bye: Bye) -> int:
        text = "".join(char if char.isprintable() else "?" for char in bye.text)
        self.conn.say_last(lines.told(lines.BYE, text, bye.code))
        if self.session is not None and self.session.waiting.stopping:
            log.notice(f"Disconnected during shutdown by signal, {self.who}, {self._numbers()}")
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

    def close(self) -> None:
        if self.session is not None and self.session.selected is not None:
            try:
                self.session.selected.folder.close(wait=True)
            except MemoryError:
                log.err(f"no memory to save what was learned of {self.session.selected.folder.path}")


def _lent(door: int, made: int = -1) -> inotify.Lent:
    from courierpy.hibernate import hearing
    return hearing.instance(door, made)


def _true(value: str) -> bool:
    """Account options: a non-zero number, or a value that starts with t or y."""
    return value[:1] in "tTyY" and value != "" or bool(decimal(value))


def run_rimapd() -> None:
    """The ``rimapd`` command: the same program under the name that clients start."""
    run()


if __name__ == "__main__":
    run()
