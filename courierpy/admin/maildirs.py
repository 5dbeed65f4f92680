"""Whose Maildirs a tool works on, and how: those that are named, those of users, or all.

Each is worked on in turn, as its owner: root starts a child for it, which becomes that user before it opens
anything there.  What fails is told in a line, and the others are done.  The exit status is the gravest of
all: those of sysexits.h, as what calls such tools expects, and 1 for findings.
"""
from __future__ import annotations

import argparse
import importlib
import os
import sys
from functools import partial

from courierpy.admin import complain, default_files, explain, read_settings
from courierpy.auth import Rejected, Request, TemporaryFailure, configured, listing, with_domain
from courierpy.auth.postal import Accounts
from courierpy.maildir.errors import Denied, FolderMissing, NameInvalid, StoreError
from courierpy.maildir.store import Store
from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import decimal
from courierpy.preload import MODULES
from courierpy.system import proc
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

FINDINGS = 1                       # exit status: there is what was looked for


class Parser(argparse.ArgumentParser):
    """Its complaint has the exit status of sysexits.h."""

    def error(self, message: str) -> NoReturn:
        self.exit(os.EX_USAGE, f"{self.format_usage()}{self.prog}: error: {message}\n")


def parser(name: str, text: str | None, every: bool = True, behind: str = "") -> Parser:
    """With the options of all tools.  ``text``: the docstring of its module; ``every``: may -a be said?
    ``behind``: what its words are called where they are no Maildirs, and no options either: ``words``."""
    found = Parser(prog=f"courierpy {name}", description=(text or "").partition("\n")[0].partition(": ")[2])
    found.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    found.add_argument("-u", dest="users", action="append", default=[], metavar="USER",
                       help="the Maildir of this account; may be said several times")
    if every:
        found.add_argument("-a", dest="all", action="store_true", help="the Maildirs of all accounts")
    if behind:
        found.add_argument("words", nargs=argparse.REMAINDER, metavar=behind)
    else:
        found.add_argument("maildirs", nargs="*", metavar="MAILDIR")
    return found


def with_mailboxes(found: Parser, without: str) -> None:
    """``without``: what is done where none is named."""
    found.add_argument("--mailbox", dest="mailboxes", action="append", default=[], metavar="NAME",
                       help=f"this mailbox; * is any characters; may be said several times; {without}")


def number(word: str, least: int = 0, what: str = "a number") -> int:
    """A word of the command line, for argparse.  ``what``: was expected."""
    found = decimal(word)
    if found is None or found < least:
        raise argparse.ArgumentTypeError(f"{what} was expected, not {word!r}")
    return found


class Place:
    """A Maildir.  ``user``: whose it is, "" where it was named by its path; ``values``: what the account says
    for the settings.  ``ids``: (uid, gid, name), None: those of who owns the directory."""

    def __init__(self, maildir: str, user: str = "", values: dict[str, str] | None = None,
                 ids: tuple[int, int, str] | None = None) -> None:
        self.maildir = maildir
        self.user = user
        self.values = values or {}
        self.ids = ids


class Maildirs:
    """Of the words of a command line.  ``status``: to exit with."""

    def __init__(self, options: argparse.Namespace, words: argparse.ArgumentParser) -> None:
        """Exits where nothing is named."""
        if not options.maildirs and not options.users and not getattr(options, "all", False):
            words.error("a MAILDIR was expected, -u USER, or -a for all" if hasattr(options, "all")
                        else "a MAILDIR was expected, or -u USER")
        self.options = options
        self.settings = Settings(read_settings(options.files or default_files()))
        self.status = 0

    def fail(self, text: str, status: int) -> None:
        """Something was left undone."""
        complain(text)
        self.status = max(self.status, status)

    def places(self) -> Iterator[Place]:
        """What cannot be found out is told."""
        yield from map(Place, self.options.maildirs)
        users = list(self.options.users)
        if getattr(self.options, "all", False):
            try:
                users += listing.names(configured(self.settings.values), self.settings.values)
            except TemporaryFailure as error:
                self.fail(str(error), os.EX_TEMPFAIL)
        if not users:
            return
        accounts = Accounts(self.settings)
        try:
            for user in dict.fromkeys(users):
                place = self._account(accounts, user)
                if place is not None:
                    yield place
        finally:
            accounts.close()

    def _account(self, accounts: Accounts, user: str) -> Place | None:
        values = self.settings.values
        try:
            account = accounts.ask(Request("pre", "imap", values, user=with_domain(user, values)))
        except Rejected as error:
            self.fail(f"{user}: {str(error) or 'there is no such account'}", os.EX_NOUSER)
            return None
        except TemporaryFailure as error:
            self.fail(f"{user}: {str(error) or 'nobody can tell now'}", os.EX_TEMPFAIL)
            return None
        of_account = {"HOME": account.home, "OPTIONS": account.options, "MAILDIRQUOTA": account.quota}
        below = account.maildir or self.settings.text("MAILDIRPATH") or "Maildir"
        maildir = os.path.join(account.home, below)
        return Place(maildir, account.address or user,
                     {key: value for key, value in of_account.items() if value},
                     (account.uid, account.gid, account.username))

    def each(self, work: Callable[[Store, Place], int], read_only: bool = False, choice: str = "",
             before: Callable[[Place], None] | None = None) -> int:
        """Does ``work`` with each, in its Maildir as working directory; the exit status of all.
        ``read_only``: nothing is changed; ``choice``: of the layout, else the settings say it; ``before``: is
        called of each first, by who we are and where we are, and may raise OSError."""
        root = os.geteuid() == 0
        for one in self.prepared(work, read_only, choice, before):
            status = _apart(one) if root else _at(one)
            self.status = max(self.status, status)
        return self.status

    def prepared(self, work: Callable[[Store, Place], int], read_only: bool = False, choice: str = "",
                 before: Callable[[Place], None] | None = None) -> Iterator[Callable[[], int]]:
        """The same for each, to be called in a process that changes its directory, and its user if it is
        root's."""
        if os.geteuid() == 0:
            for name in MODULES:       # who owns the Maildir may not be able to read the library
                importlib.import_module(name)
        for place in self.places():
            values = {**self.settings.values, **place.values}
            if not place.user:
                values.pop("MAILDIRQUOTA", None)       # which is of accounts
            if choice:
                values["IMAP_LAYOUT"] = choice
            if read_only:
                values["IMAP_READONLY"] = "1"
            if before is not None:
                try:
                    before(place)
                except OSError as error:
                    self.fail(explain(error, place.maildir), status_of(error))
                    continue
            yield partial(_inside, place, values, work)


def _at(work: Callable[[], int]) -> int:
    """In this process, which comes back to where it was."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return work()
    finally:
        os.fchdir(here)
        os.close(here)


def _inside(place: Place, values: dict[str, str], work: Callable[[Store, Place], int]) -> int:
    try:
        os.chdir(place.maildir)
        if os.geteuid() == 0:
            owner = os.stat(".")
            uid, gid, name = place.ids or (owner.st_uid, owner.st_gid, "")
            if uid or place.ids:       # root's own mail, which it named itself, is root's to look at
                proc.become(uid, gid, name or None)
        store = Store.of(Settings(values), os.environ.get("HOSTNAME"), place.user)
        if not store.layout.is_there():
            raise FolderMissing(f"{place.maildir}: no Maildir, it has no cur, new and tmp "
                                '("courierpy maildirmake" makes one)')
        return work(store, place)
    except OSError as error:
        complain(explain(error, place.maildir))
        return status_of(error)
    except StoreError as error:
        complain(f"{place.maildir}: {error}" if not str(error).startswith(place.maildir) else str(error))
        return status_of(error)
    except proc.ProcError as error:
        complain(f"{place.maildir}: {error}")
        return os.EX_NOPERM


def status_of(error: OSError | StoreError) -> int:
    """The word of sysexits.h."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError, FolderMissing, NameInvalid)):
        return os.EX_NOINPUT
    return os.EX_NOPERM if isinstance(error, (PermissionError, Denied)) else os.EX_TEMPFAIL


def _apart(work: Callable[[], int]) -> int:
    """In a child, of which this process takes back nothing but the exit status."""
    sys.stdout.flush()
    sys.stderr.flush()

    def child() -> int:
        try:
            status = work()
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            return FINDINGS            # who read our output has enough
        except OSError as error:
            complain(explain(error))
            return os.EX_IOERR
    pid = proc.fork(child)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0 or code == proc.CRASHED:
        complain("a child that worked on a Maildir ended by "
                 + (f"signal {-code}" if code < 0 else "a fault of this program"))
        return os.EX_SOFTWARE
    return code


# -- mailboxes of one Maildir

def spelled(store: Store, word: str) -> str:
    """The name of the mailbox that is meant by a word of a command line: as clients say it, without
    the prefix, or as its directory is called."""
    prefix = store.layout.prefix
    if word.upper() in (INBOX, ".", ""):
        return store.namespaces.personal.inbox or INBOX
    if prefix and word.upper().startswith(prefix.upper()):
        word = word[len(prefix):]
    elif prefix:
        word = word.removeprefix(".")
    return store.namespaces.personal.name(word)


def each_mailbox(store: Store, place: Place, patterns: Sequence[str], work: Callable[[str], int],
                 tell: Callable[[str], None] = complain) -> int:
    """The gravest status of ``work`` with the name of each that is chosen(); a store error is told, and the
    others are done.  Raises as chosen()."""
    status = 0
    for name in chosen(store, patterns):
        try:
            status = max(status, work(name))
        except StoreError as error:
            tell(f"{place.maildir}: {name}: {error}")
            status = max(status, status_of(error))
    return status


def chosen(store: Store, patterns: Sequence[str]) -> list[str]:
    """The mailboxes that the patterns name, in which ``*`` is any characters; all without one.  Raises
    FolderMissing for a name that is of none."""
    import fnmatch
    there = store.names()
    if not patterns:
        return there
    found: dict[str, None] = {}
    for pattern in patterns:
        wanted = spelled(store, pattern)
        names = fnmatch.filter(there, wanted.replace("[", "[[]").replace("?", "[?]")) if "*" in wanted else \
            [name for name in there if name == wanted]
        if not names and "*" not in wanted:
            raise FolderMissing(f"{pattern}: there is no such mailbox")
        found.update(dict.fromkeys(names))
    return list(found)
