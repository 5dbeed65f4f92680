"""From the start of a program behind the login into its Maildir, whatever the protocol.

The steps of Courier's imapd and pop3d, in their order, which a program calls one after the other: who
the client is, is the account locked, into the Maildir, loginexec, the owner, the store.  Each can end the
session by ``Bye``, whose text the program says in the words of its protocol.  A program behind a login logs
to standard error; one started from a shell, over ssh or from inetd to syslog.
"""
from __future__ import annotations

import os
import sys
import time
from functools import partial

from courierpy.maildir.errors import StoreError
from courierpy.maildir.stores import opened
from courierpy.model import fresh
from courierpy.model.accountoptions import says_yes
from courierpy.model.numbers import decimal
from courierpy.model.replies import Bye, TurnedAway, too_many
from courierpy.system import concluded, log, memory, metrics, proc, readonly, title
from courierpy.system.programs import FILE, IDLE, SWITCHES, USES, WITH_VALUE
from courierpy.system.record import Record
from courierpy.system.regular import is_there, open_regular
from courierpy.system.settings import Settings, from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.maildir.neighbours import Neighbours
    from courierpy.maildir.store import Store
    from courierpy.system.conn import Conn
    from courierpy.system.presence import Presence

MAX_CLOCK_SKEW = 30.0          # seconds between this host and the file server
WRONG_WORDS = 2                # exit status
OTHERS = "Your mailbox cannot be opened; the log of your mail administrator has the reason."
FROM_LOGIN = ("AUTHENTICATED", "TCPREMOTEIP", "TCPREMOTEPORT")     # variables that every login sets
# in what programs tell of themselves
TOLD_OPTIONS = """\
  -r              only read: nothing is changed or written, as with IMAP_READONLY=1
  -U USES         behind couriertcpd with login processes: sessions that a process serves (250)
  -T SECONDS      and how long it waits for the next one (60), 0 for any time
  -C FILE         settings, which count before the environment
  -q              whatever the quota is
  -p SSF          a layer protects the connection: from 2 on nobody reads along
  -N              any password will do, for who is on this host
  -s              TLS from the first octet on       without a listener of ours
  -H              a proxy's header comes first      without a listener of ours
  -D              run DEBUG_COMMAND: %d is the pid  without a listener of ours
  -h, --help      tell this
  -V, --version   tell the version
"""


class Options:
    """Of a program's command line.  ``argv``: without them; ``environ``: as they say; ``letters``: those of
    Cyrus with their values, see letters.py.  How often a process serves is couriertcpd's affair: alone it
    does once."""

    __slots__ = ("argv", "environ", "letters")

    def __init__(self, argv: list[str], environ: Mapping[str, str]) -> None:
        """Raises SettingsError."""
        self.letters: dict[str, list[str]] = {}
        self.argv, self.environ = self._taken(argv, environ)
        if self.letters:
            from courierpy import letters
            self.environ = letters.applied(self.letters, self.environ)

    def _taken(self, argv: list[str], environ: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
        name, *words = argv
        while words and words[0].startswith("-"):
            if words[0] == "-r":
                environ, words = {**environ, "IMAP_READONLY": "1"}, words[1:]
                continue
            letter, own = words[0][:2], words[0][2:]
            if words[0] in SWITCHES:
                self.letters[letter] = [""]
                words = words[1:]
                continue
            value = own or "".join(words[1:2])
            if letter not in WITH_VALUE or not value or letter != FILE and decimal(value) is None:
                break
            if letter not in (USES, IDLE):
                self.letters.setdefault(letter, []).append(value)
            words = words[1 if own else 2:]
        return [name, *words], environ


def own_alert(settings: Settings) -> str:
    """Where UW's imapd looks for what a user is to be told once; "" without a home."""
    home = settings.values.get("HOME", "")
    return f"{home}/.imapalert" if home else ""


class Steps:
    """What the settings say of the way in.  ``base``: CONFIGDIRECTORY; ``notices``: files by which the
    administrator speaks; ``most``: sessions of a user, 0 for any; ``limit_kib``: of memory, 0 for none;
    ``umask``: None where it stays; ``landlock``: as of Settings; ``record``: IMAPDEBUGFILE; ``by_tls``:
    the client's octets are carried through TLS; ``titled``: ps shows who it serves."""

    __slots__ = ("base", "by_tls", "checks_owner", "landlock", "limit_kib", "most", "notices", "only_reads",
                 "record", "runs_script", "titled", "umask")

    def __init__(self, settings: Settings) -> None:
        self.base = settings.text("CONFIGDIRECTORY")
        self.by_tls = settings.flag("IMAP_TLS")
        self.checks_owner = settings.checks_owner
        self.landlock = settings.landlock
        self.limit_kib = settings.number("IMAP_ULIMITD")
        self.most = settings.number("MAXPERUSER")
        self.notices = tuple(filter(None, map(settings.text, ("IMAP_NOLOGIN", "IMAP_ALERT"))))
        self.only_reads = settings.flag("IMAP_READONLY")
        self.record = settings.text("IMAPDEBUGFILE")
        self.runs_script = settings.flag("IMAP_LOGINEXEC")
        self.titled = settings.flag("IMAP_PROCTITLE")
        self.umask = settings.umask()


class Entering:
    """A program behind the login on its way into the Maildir: a method for each step.

    ``program``: its name, for the log; ``protocol``: that it speaks.  ``behind_login``: did a login start
    it?  ``steps``: what the settings say of the way in.  ``user``, ``peer``, ``port``: who the client is;
    ``who``: the same for the log.  ``folders``: the store, once it is open.  ``noticed``: may the
    administrator have something to say?  ``presence``: the file
    of the session, None where it has none.  ``came_from``: address and port of a client without a login;
    ``is_proxied``: a proxy has told them."""

    program, protocol = "", "IMAP"

    def __init__(self, argv: list[str], environ: Mapping[str, str], conn: Conn, behind_login: bool) -> None:
        self.argv = argv
        self.environ = environ
        self.conn = conn
        self.behind_login = behind_login
        self.settings: Settings = from_environ(environ)
        self.steps = concluded.of(self.settings, Steps)
        self.only_reads = self.steps.only_reads
        self.started = time.monotonic()
        self.user = environ.get("AUTHENTICATED", "")
        self.peer = environ.get("TCPREMOTEIP", "")
        self.port = environ.get("TCPREMOTEPORT", "")
        self.who = ""
        self.folders: Store | None = None
        self.noticed = False
        self.presence: Presence | None = None
        self.came_from = "127.0.0.1", "0"
        self.is_proxied = False

    def set_umask(self) -> None:
        """IMAP_UMASK; where it is not set, what we were started with and at least 022."""
        wanted = self.steps.umask
        os.umask(os.umask(0o077) | 0o022 if wanted is None else wanted)

    def limit_memory(self) -> None:
        """IMAP_ULIMITD.  Nothing is loaded after it: what a module does to which memory is refused in the
        middle of its start nobody knows."""
        kib = self.steps.limit_kib
        if kib > 0:
            if "courierpy.preload" not in sys.modules:         # no listener did it
                import syslog  # noqa: F401

                import pyinotify  # noqa: F401

                from courierpy import preload
                preload.preload(protocol=self.protocol)
            memory.limit(kib)

    def be_who(self) -> None:
        """Find out who the client is, for the log and for ps.  Raises Bye."""
        self._whose()
        self.who = log.who(self.peer, self.port, self.user)
        log.about(self.who)
        if self.steps.titled:
            title.start(self.settings)
        if title.show is not None:
            title.be(f"{self.program} {self.user} [{self.peer}]")

    def _whose(self) -> None:
        if self.behind_login:
            missing = [name for name in FROM_LOGIN if not self.environ.get(name)]
            if missing:
                log.err(f"IMAPLOGINTAG is set, {' and '.join(missing)} not: imaplogin sets all of them; "
                        f"unset IMAPLOGINTAG to start {self.program} without a login")
                raise Bye(f"{missing[0]} environment variable not set.", status=1)
            return
        self.peer, self.port = self.came_from
        _log_apart(self)
        if not self.user:
            import pwd
            uid = os.getuid()
            try:
                self.user = pwd.getpwuid(uid).pw_name
            except KeyError:
                self.user = f"uid-{uid}"       # in a container nobody may have a name; the mail is there

    def look_for_lock(self) -> None:
        """The sticky bit on the home directory locks the account."""
        try:
            sticky = os.stat(".").st_mode & 0o1000
        except OSError:
            sticky = 0
        if sticky and self.behind_login:
            log.info(f"LOCKED, {self.who}")
            raise Bye("Your account is temporarily unavailable (+t bit set on home directory).")

    def look_for_notices(self) -> None:
        """Does the administrator refuse everybody now?  Most hosts have no file for that, and load nothing.
        Raises Bye."""
        alert = own_alert(self.settings)
        files = (*self.steps.notices, alert) if alert else self.steps.notices
        self.noticed = self.steps.base != "" or any(map(is_there, files))
        if not self.noticed:
            return
        from courierpy.system import notices
        why = notices.refusal(self.settings)
        if why:
            log.info(f"REFUSED, {self.who}: {log.quoted(why)}")
            raise Bye(why, b"ALERT")
        if self.steps.base:
            from courierpy.system import denials
            self._turn_away("DENIED", denials.word_for(self.settings, self.protocol.lower(), self.user,
                                                       self.peer if self.behind_login else ""),
                            b"CONTACTADMIN")

    def _turn_away(self, word: str, why: str, code: bytes) -> None:
        """Raises TurnedAway where there is a reason."""
        if why:
            log.info(f"{word}, {self.who}: {log.quoted(why)}")
            raise TurnedAway(why, code)

    def be_present(self, began: int = 0) -> None:
        """From now on the session is one of those that are on.  ``began``: of one that goes on, on the
        monotonic clock in nanoseconds.  Raises TurnedAway where the user has as many as may be
        (MAXPERUSER)."""
        if not self.environ.get("COURIERPY_SESSIONS") and not self.environ.get("RUNDIRECTORY"):
            return
        from courierpy.system.presence import Presence
        self.presence = Presence.of(self.environ, self.conn.infd, self.protocol, self.user,
                                    (self.peer, self.port))
        if self.presence is None:
            return
        most = self.steps.most
        self.presence.is_counted = most > 0
        if began or most <= 0:
            self.presence.enter(began)
        elif not self.presence.enter_as_one_of(most):
            self._turn_away("LIMIT", too_many(most), b"LIMIT")

    def enter_maildir(self) -> None:
        """Into $MAILDIR, else the one that an argument names, else ./Maildir.  Raises Bye."""
        given = self.argv[1] if len(self.argv) > 1 else ""
        path = self.environ.get("MAILDIR") or given or "./Maildir"
        if path == given and given.startswith("-") and not os.path.lexists(given):
            raise Bye(f"There is no option {given}; {self.program} --help tells what there is.", b"ALERT",
                      WRONG_WORDS)
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
        if self.behind_login:
            return OTHERS
        if isinstance(error, FileNotFoundError):
            return f'There is no Maildir at {path}: name another, or make it: courierpy maildirmake {path}'
        if isinstance(error, NotADirectoryError):
            return f"{path} is no directory, and a Maildir is one: name another."
        return f"{path} cannot be entered: {error.strerror}: a Maildir of your own was expected."

    def run_login_script(self) -> None:
        """IMAP_LOGINEXEC: ./loginexec, if executable, runs once; success removes it.

        Whoever may write to the Maildir could put it there, so it is off by default.
        """
        if self.only_reads or not self.steps.runs_script:
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

    def check_owner(self) -> None:
        """IMAP_MAILBOX_SANITY_CHECK: the Maildir must be the user's own.  Raises Bye."""
        if self.steps.checks_owner:
            mine = os.stat(".")
            if (mine.st_uid, mine.st_gid) != (os.geteuid(), os.getegid()):
                why = (f"{os.getcwd()} belongs to uid {mine.st_uid}, gid {mine.st_gid}; "
                       f"uid {os.geteuid()}, gid {os.getegid()} was expected: chown it, or set "
                       "IMAP_MAILBOX_SANITY_CHECK=0")
                log.err(why)
                raise Bye("Fatal error: Account's mailbox directory is not owned by the correct "
                          f"uid or gid: {'' if self.behind_login else why}", b"ALERT", 1)

    def open_store(self) -> None:
        """Raises Bye where there is no Maildir."""
        host = self.environ.get("HOSTNAME")
        try:
            self.folders, whole = opened(self.settings, host, self.user)
            # else the account has the option disableshared, or names may begin with anything
            if self.folders.access.identities and self.folders.layout.prefix:
                self.folders.meet = partial(_meet, self.folders, self.settings, host)
        except StoreError as error:
            log.err(f"{self.user}: {error}")
            whole = False
        if not whole:
            here = os.getcwd()
            log.err(f"{self.user}: {here}: no Maildir: it has no cur, new and tmp, nor mailboxes that "
                    'IMAP_LAYOUT knows ("courierpy maildirmake" makes one)')
            raise Bye(OTHERS if self.behind_login else
                      f"{here} is no Maildir: name another, or make it: courierpy maildirmake {here}",
                      b"ALERT", 1)

    def open_record(self) -> None:
        """IMAPDEBUGFILE in the Maildir, if it is there already, gets the dialogue; a
        directory gets a file for each session.  Else log/USER/ below CONFIGDIRECTORY."""
        name = self.steps.record
        if name:
            flags = os.O_WRONLY | os.O_APPEND
            if os.path.isdir(name):
                name = os.path.join(name, str(os.getpid()))
                flags |= os.O_CREAT
            try:
                self.conn.record = Record(open_regular(name, flags))
                return
            except OSError:
                pass                   # the user wants none
        if self.steps.base:
            from courierpy.system import notices
            self.conn.record = notices.record(self.settings, self.user)

    def confine(self) -> None:
        """IMAP_LANDLOCK: from now on this process reaches no file but what the session is for.  Raises Bye.

        A session before may have confined it already: what its Maildir is shared with since then is out of
        reach, and the process serves none after this one.
        """
        wanted = self.steps.landlock
        if wanted is None:
            return
        from courierpy.system import landlock
        if not landlock.version():
            return                     # courierpy serve told its administrator
        try:
            missed = landlock.confine(*self._reach(wanted))
        except OSError as error:
            log.err(f"IMAP_LANDLOCK: {error}, {self.who}")
            raise Bye(OTHERS, b"UNAVAILABLE", 1) from None
        if missed:
            fresh.spoil()
        if os.path.realpath(".") in missed:        # it moved
            raise Bye("Please connect again.", b"UNAVAILABLE")

    def _reach(self, wanted: list[str]) -> tuple[list[str], list[str]]:
        """(directories that are written to, what is only read)."""
        assert self.folders is not None
        own = [self.folders.root, self.folders.layout.inbox]
        if self.folders.meet is not None:
            from courierpy.maildir.linked import sharables
            own += sharables(self.folders.root).values()
        index = self.settings.text("IMAP_INDEXDIR")
        if index:
            of_user = os.path.join(index, str(os.geteuid()))
            own.append(of_user if os.path.isdir(of_user) else index)
        own += wanted
        # what a session says of itself there
        said = filter(None, map(self.environ.get, ("CONFIGDIRECTORY", "COURIERPY_SESSIONS", "RUNDIRECTORY")))
        read = [self.settings.text(name) for name in ("IMAP_SHAREDINDEXFILE", "IMAP_REMOTE_MAILBOXES",
                                                      "IMAP_NOLOGIN", "IMAP_ALERT")]
        read.append(self.settings.values.get("HOME", ""))
        if self.only_reads:
            own, read = [], read + own
        return [*own, *said], list(filter(None, read))

    def check_clock(self) -> None:
        """A file server whose clock is elsewhere would break every age rule.  Raises Bye."""
        assert self.folders is not None
        tmp = f"{self.folders.layout.inbox}/tmp"
        try:
            if os.major(os.stat(tmp).st_dev):
                return             # a disk of our own, which has our clock
            path = f"{tmp}/courier-imap.clockskew.chk.{os.getpid()}"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
            skew = os.stat(path).st_mtime - time.time()
            os.unlink(path)
        except OSError:
            return                 # read-only or not a whole Maildir: SELECT will say
        if abs(skew) > MAX_CLOCK_SKEW:
            raise Bye("Clock skew detected. Check the clock on the file server")

    def close(self) -> None:
        """Let go of what is open."""

    def option(self, name: str) -> bool:
        """Is this option of the account on?"""
        return says_yes(self.environ.get("OPTIONS", ""), name)


def _log_apart(daemon: Entering) -> None:
    """Without a login some clients read our descriptor 2 as they read 1."""
    if not os.isatty(2) and not log.wanted(daemon.environ):
        log.to_syslog(daemon.program)


def _meet(own: Store, settings: Settings, host: str | None) -> Neighbours:
    from courierpy.maildir.sharing import meet  # few sessions ask for mailboxes of others
    return meet(own, settings, host)


def begin(daemon: Entering, letters: Mapping[str, list[str]]) -> None:
    """What the letters say of a connection that no listener gave us.  Raises Bye and Gone."""
    if letters and not daemon.behind_login:
        from courierpy import letters as of_cyrus
        _log_apart(daemon)
        of_cyrus.begin(letters, daemon)


def ends(daemon: Entering, serve: Callable[[], int]) -> int:
    """The exit status that ``serve`` gives, and what is due before it and behind it."""
    daemon.set_umask()
    if daemon.only_reads:
        readonly.begin()
    meter = metrics.begin(daemon.environ, daemon.protocol)
    if meter is not None:
        meter.octets_of(daemon.conn)
    try:
        return serve()
    finally:
        if daemon.presence is not None:
            daemon.presence.leave()    # its client may come again at once, and be one of few
        is_open = daemon.conn.shut()
        daemon.close()                 # nobody waits for us any more
        if is_open:                    # by now the client has closed its side too, mostly
            daemon.conn.see_off()
        readonly.end()
        metrics.end()
