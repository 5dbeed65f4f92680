"""The programs of the chain: which words name one of ours, and how one goes on in the next.

A program's ``main`` gives an exit status, or the ``Next`` program, which starts when the frames of
the one before are gone: of what those knew nothing can be reached from it but what Next hands
over.  It starts in the same process where that is asked for and it is ours, else by exec, and
then any program that reads descriptor 0 will do.
"""
from __future__ import annotations

import os
import sys

import courierpy
from courierpy.model.numbers import decimal
from courierpy.system import log, proc
from courierpy.system.proc import ProcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from courierpy.system.conn import Conn

    Main = Callable[[list[str], Mapping[str, str], Conn | None], "int | Next"]


MOST = 10 ** 6                  # that such an option may say


class Program:
    """``module``: where its ``main`` and ``run`` are.  ``dialogue``: the module of its dialogue before the
    login, "" for a program that begins behind it.  The others speak as nobody's program yet
    (``logs_in``), and name the next one among their arguments.  ``protocol``: begins the names of its
    variables of TLS.  ``besides``: a setting, and the module that is meant where it is set: another protocol
    is spoken too."""

    __slots__ = ("_besides", "_dialogue", "module", "name", "protocol")

    def __init__(self, name: str, module: str, dialogue: str = "", protocol: str = "IMAP",
                 besides: tuple[str, str] = ("", "")) -> None:
        self.name = name
        self.module = module
        self._dialogue = dialogue
        self.protocol = protocol
        self._besides = besides

    @property
    def logs_in(self) -> bool:
        return self._dialogue != ""

    def dialogue(self, environ: Mapping[str, str]) -> Any:
        """The module of its dialogue before the login, by these settings."""
        setting, other = self._besides
        name = other if setting and environ.get(setting) else self._dialogue
        __import__(name)
        return sys.modules[name]

    def main(self) -> Main:
        __import__(self.module)
        found: Main = sys.modules[self.module].main
        return found


TABLE = {program.name: program for program in (
    Program("imaplogin", "courierpy.imaplogin", "courierpy.imap.prelogin",
            besides=("SMAP_CAPABILITY", "courierpy.smap.prelogin")),
    Program("imapd", "courierpy.imapd"),
    Program("rimapd", "courierpy.imapd"),
    Program("pop3login", "courierpy.pop3login", "courierpy.pop3.prelogin", "POP3"),
    Program("pop3d", "courierpy.pop3d", protocol="POP3"),
    Program("ipop3d", "courierpy.pop3d", protocol="POP3"))}


class Next:
    """What the next program gets.  ``argv``: its name and arguments.  ``last_words``: whole lines that
    the client reads where it cannot be started."""

    __slots__ = ("argv", "conn", "environ", "last_words")

    def __init__(self, argv: list[str], environ: Mapping[str, str], conn: Conn, last_words: bytes) -> None:
        self.argv = argv
        self.environ = environ
        self.conn = conn
        self.last_words = last_words


# options of a program behind the login whose value is the next word, or the rest of this one
USES, IDLE = "-U", "-T"
FILE, LAYER = "-C", "-p"
WITH_VALUE = (USES, IDLE, FILE, LAYER)
SWITCHES = ("-D", "-H", "-N", "-q", "-s")          # and those without one, beside -r


def value_of(words: list[str], option: str, default: int) -> int:
    """The number that an option has among the options of a program, the last one of several.  Raises
    ValueError for what is no number."""
    found, at = default, 0
    while at < len(words) and words[at].startswith("-"):
        word, at = words[at], at + 1
        text = word[len(option):]
        if word in WITH_VALUE:
            text, at = words[at] if at < len(words) else "", at + 1
        if word.startswith(option):
            number = decimal(text, MOST)
            if number is None:
                raise ValueError(f"{option} expects a number, not {text[:20]!r}")
            found = number
    return found


def find(word: str) -> Program | None:
    """Our program that this word names: a bare name, or a path that leads beside our interpreter, as the
    links do that an installation has in its ``bin``.

    A distribution's interpreter lies among other servers' programs of the same names: those are compiled."""
    program = TABLE.get(os.path.basename(word))
    beside = os.path.realpath(os.path.dirname(sys.executable))
    if program is None or os.path.dirname(word) and (
            os.path.dirname(os.path.realpath(word)) != beside or _compiled(word)):
        return None
    return program


def _compiled(path: str) -> bool:
    """Is this file there, can it be read, and is it no script?"""
    try:
        with open(path, "rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


def run(argv: list[str], environ: Mapping[str, str], conn: Conn | None, inside: bool) -> int:
    """Run our program ``argv[0]``, and those that it goes on in; gives the exit status.

    ``inside``: our own programs go on in this process.
    """
    program = TABLE[os.path.basename(argv[0])]
    while True:
        result = program.main()(argv, environ, conn)
        if isinstance(result, int):
            return result
        following = find(result.argv[0]) if inside else None
        if following is None:
            return _go_on(result)
        program, argv, environ, conn = following, result.argv, result.environ, result.conn
        conn.rcvd = conn.sent = 0      # of this program, as Courier counts
        del result


def _go_on(following: Next) -> int:
    """By exec; comes back only where that fails."""
    try:
        execute(following.argv[0], following.argv[1:], following.environ, following.conn)
    except ProcError as error:
        log.err(str(error))
    proc.on_signal(proc.ends)          # nothing more is told
    following.conn.say_last(following.last_words)
    following.conn.end()
    return 1


def interpreter(module: str) -> list[str]:
    """The words that run ``module.run()`` by this interpreter, without ``site``.

    What the hooks of site-packages load costs every process time, and every
    child of the listener memory; the folders of libraries are named instead.
    Nothing is ever imported from the working directory.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(courierpy.__file__)))
    library = os.path.dirname(os.__file__)
    standard = {library, os.path.join(library, "lib-dynload")}
    folders = [own, *(entry for entry in sys.path if entry not in standard and entry != own
                      and os.path.isabs(entry) and os.path.isdir(entry))]
    return [sys.executable, "-I", "-S", "-X", "no_debug_ranges", "-c",
            f"import sys; sys.path += {folders}; from {module} import run; run()"]


def command(program: str) -> list[str]:
    """The words that start ``program``; our own by this interpreter."""
    ours = find(program)
    return [program] if ours is None else interpreter(ours.module)


def execute(program: str, args: list[str], environ: Mapping[str, str], conn: Conn) -> None:
    """Replace this process; returns only by raising ProcError.

    A program that is exec'd reads descriptor 0 itself: bytes that were read
    already, or TLS, are carried to it by a relay process.
    """
    conn.flush()
    if not conn.plain or conn.pending:
        from courierpy.system import relay
        relay.start(conn)
    import signal  # what goes on in this process execs nothing
    words = command(program)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)      # the login is over
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)      # Python ignores it, and that would be inherited
    try:
        os.execvpe(words[0], [*words, *args], dict(environ))
    except OSError as error:
        raise ProcError(f"{program}: {error.strerror}") from None
