"""The ``courierpy`` command: administration, one file per subcommand.

A subcommand is a module with ``main(words) -> exit status``: 0 done, 1 something was
left undone, 2 wrong words; those that work on Maildirs (maildirs.py) have the words of
sysexits.h.  What it cannot do it says in one line: the path, what was expected there,
what to do.  An OSError that it did not catch becomes such a line here.
"""
from __future__ import annotations

import os
import sys
from functools import partial

from courierpy.model.numbers import decimal
from courierpy.system.about import told
from courierpy.system.proc import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

SUBCOMMANDS = {
    "serve": "start the listeners as the settings say",
    "config": "print the settings in force and check them",
    "user": "add, change, remove or list the accounts of a userdb",
    "authtest": "show what each module says of a user and a password",
    "authenumerate": "list the accounts of all modules",
    "authpasswd": "tell the hash of a password",
    "userdb": "show, set and remove fields of a userdb",
    "userdbpw": "tell the hash of a password for a userdb",
    "makeuserdb": "look whether a userdb can be used",
    "pw2userdb": "tell the accounts of the system as rows of a userdb",
    "maildirmake": "make a Maildir, or a folder in one",
    "deliverquota": "bring a message to a Maildir that has a quota",
    "quota": "show how full Maildirs are, count again, set limits",
    "maildiracl": "show and change who may do what with the mailboxes of a Maildir",
    "maildirkw": "show and change the keywords of messages",
    "maildirwatch": "run a command whenever a Maildir changes",
    "sharedindexsplit": "make the index of shared accounts from a list of accounts",
    "sharedindexinstall": "put the index in use that was made",
    "makeimapaccess": "look whether the access rules are right",
    "shutdown": "end all sessions, and let nobody in until it is cancelled",
    "motd": "say something to everybody who logs in",
    "who": "show the sessions that are on",
    "kick": "end sessions",
    "deny": "keep users or addresses out",
    "stats": "show what a server has counted, while it counts",
    "demo": "make a folder with a demo account and Maildir",
    "tour": "show two clients on a demo, with the IMAP lines beside",
    "mkcert": "make a self-signed certificate",
    "mkimapdcert": "make the certificate that imapd-ssl names",
    "mkpop3dcert": "make the certificate that pop3d-ssl names",
    "autoconfig": "tell mail programs where the servers of a domain are",
    "convert": "take over a Maildir from Dovecot, or give it back",
    "reindex": "compute what clients will ask for, before they do",
    "check": "look whether Maildirs are sound, and mend them",
    "purge": "remove messages by age or size",
    "unexpunge": "list messages that were expunged and kept, and bring them back",
    "expire": "remove for good what was kept for long enough",
    "backup": "copy Maildirs as they are at one moment",
    "restore": "bring messages back from a backup",
    "withlock": "run a command while nobody changes Maildirs",
    "lockmail": "run a command while a mailbox in one file is locked",
    "touch": "give messages their arrival times again",
    "folders": "tell the mailboxes of Maildirs as data",
    "path": "tell the directory of a mailbox, or the mailbox of a directory",
    "dump": "show what is known of the messages of a mailbox",
    "df": "show how full the file systems are that hold Maildirs",
    "version": "tell the version, and what this is made of",
    "completion": "print what a shell reads to complete these words",
}
# that stand on what is above this room
ELSEWHERE = {"tour": "courierpy.testing.tour"}
_WIDTH = max(map(len, SUBCOMMANDS))


def run() -> None:
    """The ``courierpy`` command."""
    sys.exit(main(sys.argv))


def run_by_name() -> None:
    """A subcommand by the name that its program has with Courier: maildirmake, deliverquota, userdb ..."""
    name = os.path.basename(sys.argv[0])
    sys.exit(_guarded(name, partial(_call, name, sys.argv[1:])))


def main(argv: list[str]) -> int:
    """``argv``: as sys.argv.  Gives the exit status."""
    words = argv[1:]
    if words[:1] == ["help"] or words[:1] == ["version"] and words[1:2] and words[1] in SUBCOMMANDS:
        words = [*words[1:2], f"--{words[0]}"]     # help COMMAND is COMMAND --help
    status = told([argv[0], *words], usage())
    if status is not None:
        return status
    if not words:
        print(usage(), file=sys.stderr)
        return 2
    if words[0] not in SUBCOMMANDS:
        near = nearest(words[0], SUBCOMMANDS)
        meant = f"; did you mean {near!r}?" if near else ""
        complain(f'there is no command {words[0]!r}{meant}  "courierpy help" lists them')
        return 2
    return _guarded(f"courierpy {words[0]}", partial(_call, words[0], words[1:]))


def usage() -> str:
    """What ``courierpy --help`` prints."""
    lines = [f"  {name:{_WIDTH}}  {text}" for name, text in SUBCOMMANDS.items()]
    return "\n".join(["Usage: courierpy COMMAND [options]", "", *lines, "",
                      "courierpy COMMAND --help tells the options; courierpy --version the version."])


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` is most likely meant to be, in any case; None: none is near."""
    import difflib
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), folded, 1)
    return folded[found[0]] if found else None


def _call(name: str, words: list[str]) -> int:
    import importlib
    if words in (["--version"], ["-V"]):
        return told(["courierpy", words[0]], "") or 0
    status: int = importlib.import_module(ELSEWHERE.get(name, f"courierpy.admin.{name}")).main(words)
    return status


def _guarded(shown: str, work: Callable[[], int]) -> int:
    """The exit status of ``work``; what it could not do in one line, which begins with ``shown``."""
    from courierpy.maildir.errors import StoreError
    try:
        try:
            status = work()
        except SystemExit as end:      # of argparse, after --help too
            status = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()             # here, where its failure is caught
        return status
    except KeyboardInterrupt:
        complain("interrupted", shown)
        return 130
    except BrokenPipeError:
        pass                           # who read our output has enough
    except OSError as error:
        complain(explain(error), shown)
    except StoreError as error:
        complain(str(error), shown)
    try:
        sys.stdout.flush()
    except OSError:
        # the interpreter would try it again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1


def complain(text: str, shown: str = "courierpy") -> None:
    """One line on standard error, whatever is in a name that it tells."""
    print(f"{shown}: {printable(text)}", file=sys.stderr)


def printable(text: str) -> str:
    """In one line, for any terminal."""
    plain = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return plain.encode("utf-8", "backslashreplace").decode()


def explain(error: OSError, where: str = "") -> str:
    """What the kernel refused in one line: the path, why, and what to do.

    ``where``: the directory in which a relative path of the error is, and the path of one that has none.
    """
    import errno
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    unnamed = not name and error.filename is not None
    if where and name != where:
        name = os.path.join(where, name) if name else where
    above = absolute(os.path.dirname(name) or ".")
    here = above.startswith("/")
    what = error.strerror or str(error)
    todo = {
        errno.ENOENT: "the name of a file or directory was expected: name one" if unnamed else
                      "the directory that this runs in has been removed: change to another one"
                      if not here else "look at the spelling of the name"
                      if not name or os.path.isdir(above) else
                      f"its directory {above} is not there either: look at the spelling, or make it first",
        errno.ENOTDIR: "a directory was expected: name one",
        errno.EISDIR: "a file was expected: name one",
        errno.EEXIST: "name another, or remove it first",
        errno.ENOTEMPTY: "name another, or empty it first",
        errno.EACCES: f"{_myself()} may not: do it as its owner, or as root",
        errno.EPERM: f"{_myself()} may not: do it as its owner, or as root",
        errno.EROFS: "mount the file system for writing first",
        errno.ENOSPC: "make room on the disk, then do it again",
        errno.EDQUOT: "make room in the quota, then do it again",
        errno.EADDRINUSE: "another program listens there: end it, or take another port",
        errno.EMFILE: "raise the limit of open files (ulimit -n), then do it again",
        errno.ENFILE: "raise the system's limit of open files, then do it again",
        errno.ELOOP: "symbolic links lead in a circle: remove one of them" if _in_a_circle(name) else
                     "a symbolic link, which is not followed here: name what it leads to",
        errno.ENAMETOOLONG: "take a shorter name",
    }.get(error.errno or 0)
    return (f"{name}: " if name else "'': " if unnamed else "") + what + (f" ({todo})" if todo else "")


def _myself() -> str:
    import pwd
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _in_a_circle(name: str) -> bool:
    """Else open(2) said ELOOP because it was asked to follow no link."""
    import errno
    try:
        os.stat(name)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def port_number(text: str) -> int:
    """A word of the command line, for argparse."""
    import argparse
    number = decimal(text, 65535)
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r}: a port from 1 to 65535 was expected")
    return number


def read_settings(files: list[str], wrong: list[str] | None = None) -> dict[str, str]:
    """The files on top of each other.  Exits with the complaints of a bad one, or ``wrong`` gets those of its
    lines."""
    from courierpy.system.settings import SettingsError
    from courierpy.system.settingsfile import parse_file
    values: dict[str, str] = {}
    try:
        for path in files:
            values = parse_file(path, values, wrong)
    except SettingsError as error:
        give_up(str(error))
    return values


def give_up(text: str, status: int = 1) -> NoReturn:
    """Say in one line why there is no way on, and end."""
    complain(text)
    sys.exit(status)


def default_files(*names: str) -> list[str]:
    """Courier's places of the files of these names, without any of IMAP's, as far as they are there."""
    from courierpy.system.startup import DEFAULT_FILES
    places = [os.path.join(os.path.dirname(DEFAULT_FILES[0]), name) for name in names] or DEFAULT_FILES
    return [path for path in places if os.path.exists(path)]
