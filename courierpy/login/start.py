"""From a checked password to the next program: may the account be served, and what the program gets.

An account is looked at before the client hears anything: as its user, but with the way back to
root open.  One that cannot be served is refused like a wrong password, so that nobody learns
that the password was right; the reason is in the log.
"""
from __future__ import annotations

import errno
import os
import re
import time

from courierpy.auth import Account, TemporaryFailure, Unservable, tries
from courierpy.model.accountoptions import SEPARATE
from courierpy.system import channelbinding, desk, proc, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    Look = Callable[[Account], None]

    from courierpy.system.settings import Settings

LOOK_SECONDS = 5.0             # that an account is known to be in order
MOST_SEEN = 1000               # accounts of which that is known
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_FURTHER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+)(:[0-9]{1,5})?")
# what is wrong with the account itself; anything else that the system says may pass
LASTING = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)


def with_maildir(arguments: list[str], maildir: str) -> list[str]:
    """The arguments of a program, with the account's Maildir in the place of what they name; as they are
    where that is ""."""
    if not maildir:
        return arguments
    options, others = parted(arguments)
    return [*options, maildir, *others[1:]]


def parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """(options with their values, the others) of a program's arguments: options stand first."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in programs.WITH_VALUE else 1
    return arguments[:at], arguments[at:]


def maildir_of(account: Account, arguments: list[str], environ: Mapping[str, str]) -> str:
    """The account's own, else the argument of the program, else MAILDIRPATH; "" without any."""
    if account.maildir:
        return account.maildir
    others = parted(arguments)[1]
    return others[0] if others else environ.get("MAILDIRPATH", "")


def mailhosts(account: Account) -> list[str]:
    """What the account's option mailhost says; nothing without that.

    It names hosts, as Courier has it: ``mailhost=H,H2``.  A comma ends an option too, so the words behind it
    are hosts as long as they look like ones, and not like an option's name."""
    words = [word.strip() for word in account.options.split(SEPARATE)]
    at = next((at for at, word in enumerate(words) if word.partition("=")[0].strip() == "mailhost"), -1)
    if at < 0:
        return []
    hosts = [words[at].partition("=")[2].strip()]
    for word in words[at + 1:]:
        if not _FURTHER.fullmatch(word):
            break
        hosts.append(word)
    return hosts


def elsewhere(account: Account, settings: Settings) -> list[str]:
    """The hosts that the account's mail is at, each with its port or without; none where that is here.
    Raises Unservable."""
    hosts = mailhosts(account)
    if not hosts:
        return []
    here = (settings.text("PROXY_HOSTNAME") or os.uname().nodename).lower()
    if hosts[0].lower() in ("", here):
        return []
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise Unservable(f"the option mailhost names no host: {host[:80]!r}")
    return [host for host in hosts if host.lower() != here]


def look(account: Account, maildir: str, skeleton: str, owned: bool) -> None:
    """Could a session of this account begin?  A missing home is made from ``skeleton``, unless that is "".

    ``maildir``: must be there too; "" if that is the program's own affair.  ``owned``: and must be
    the account's.  Raises Unservable or TemporaryFailure.
    """
    try:
        if account.uid:
            _make_home(account, skeleton)
        with proc.Borrowed(account.uid, account.gid, account.username or None):
            _enter(account.home, "home")
            if maildir:
                place = os.path.join(account.home, maildir)
                found = _enter(place, "Maildir")
                if owned and (found.st_uid, found.st_gid) != (account.uid, account.gid):
                    raise Unservable(f"{place} belongs to uid {found.st_uid}, gid {found.st_gid}, not to "
                                     f"uid {account.uid}, gid {account.gid}")
    except proc.ProcError as error:
        raise Unservable(str(error)) from None
    except ValueError as error:                    # a NUL in a path
        raise Unservable(f"{account.home!r}: {error}") from None


class Seen:
    """Looks at accounts, for who does so often: what was seen as the user holds for LOOK_SECONDS, as long as
    its home and its Maildir are the same directories with the same owner and permissions.  What else may have
    changed, on the way there, its session finds out, which is its user."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], tuple[float, tuple[int, ...]]] = {}

    def look(self, account: Account, maildir: str, skeleton: str, owned: bool) -> None:
        """As look()."""
        key = account.uid, account.gid, account.username, account.home, maildir
        places = _places(account.home, maildir)
        until, then = self._seen.get(key, (0.0, ()))
        now = time.monotonic()
        if places and places == then and now < until:
            return
        look(account, maildir, skeleton, owned)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[key] = now + LOOK_SECONDS, places


def _places(home: str, maildir: str) -> tuple[int, ...]:
    """What the directories are, for whom it may; empty where one cannot be seen."""
    try:
        one, two = os.stat(home), os.stat(maildir if maildir.startswith("/") else f"{home}/{maildir}")
    except (OSError, ValueError):
        return ()
    return (one.st_dev, one.st_ino, one.st_mode, one.st_uid, one.st_gid,
            two.st_dev, two.st_ino, two.st_mode, two.st_uid, two.st_gid)


def _enter(path: str, what: str) -> os.stat_result:
    try:
        return os.stat(os.path.join(path, "."))
    except OSError as error:
        why = f"{what}: chdir({path}): {error.strerror}"
        if error.errno in LASTING:
            raise Unservable(why) from None
        raise TemporaryFailure(why) from None


def _make_home(account: Account, skeleton: str) -> None:
    """A home directory that is not there is a copy of the skeleton, owned by the account."""
    if not skeleton or os.path.exists(account.home) or not os.path.isdir(skeleton):
        return
    import shutil
    try:
        shutil.copytree(skeleton, account.home, symlinks=True)
        for top, directories, files in os.walk(account.home):
            for name in (".", *directories, *files):
                os.lchown(os.path.join(top, name), account.uid, account.gid)
    except OSError as error:                       # shutil.Error is one
        raise TemporaryFailure(f"{account.home}: cannot be made from {skeleton}: "
                               f"{error.strerror or error}") from None


def enter(account: Account) -> None:
    """Become the account, in its home, for good.  Raises TemporaryFailure: it was looked at before."""
    become(account)
    move(account)


def become(account: Account) -> None:
    """The same, wherever this process is."""
    try:
        proc.become(account.uid, account.gid, account.username or None)
    except proc.ProcError as error:
        raise TemporaryFailure(str(error)) from None


def move(account: Account) -> None:
    """Into its home, as its user.  Raises TemporaryFailure."""
    try:
        os.chdir(account.home)
    except OSError as error:
        raise TemporaryFailure(f"chdir({account.home}): {error.strerror}") from None


def leave_listener(environ: MutableMapping[str, str]) -> None:
    """The login is done: what is no session's business is closed and forgotten."""
    desk.leave(environ)
    table = tries.inherited(environ)
    if table >= 0:
        os.close(table)
    for variable in (tries.VARIABLE, *channelbinding.VARIABLES.values()):
        environ.pop(variable, None)


def hand_over(account: Account, maildir: str, environ: MutableMapping[str, str]) -> None:
    """The variables that the next program is promised."""
    environ["AUTHENTICATED"] = environ["AUTHADDR"] = account.address
    environ["OPTIONS"] = environ["AUTHOPTIONS"] = account.options
    environ["AUTHFULLNAME"] = account.name
    environ["HOME"] = account.home
    environ.pop("MAILDIR", None)
    if account.quota:
        environ["MAILDIRQUOTA"] = account.quota
    if maildir:
        environ["MAILDIR"] = maildir
