"""Who brings a message into a Maildir: a process for each user, which is that user and nobody else.

The process that speaks with the client may be root's; it opens no file of a Maildir.  For the first
recipient of a uid it forks a carrier, which becomes the user for good, and serves the next recipients of
that uid too.  A carrier that is lost, or takes too long, is a failure for now: the client brings the
message again.
"""
from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
from functools import partial

from courierpy.lmtp import news
from courierpy.lmtp.content import pieces
from courierpy.lmtp.grammar import Reply
from courierpy.maildir import delivery
from courierpy.maildir.duplicates import Duplicates
from courierpy.maildir.errors import DiskFull, QuotaExceeded, StoreError
from courierpy.maildir.store import Store
from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import decimal
from courierpy.system import channels, log, passing, proc, title
from courierpy.system.seldom import due
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from courierpy.auth import Account

DAY = 86400                        # seconds
MOST = 16                          # processes of one client that wait for the next recipient
PATIENCE = 300.0                   # seconds that a delivery may take
_NEWS = b"\0"                       # between a reply and what notifyd is told
THOUGHT = 20.0                     # seconds that a question may take
_JOB = struct.Struct("!I")         # octets of the variables ahead of the fields

LATER = Reply(451, "4.3.0", "The mailbox cannot be reached now, try again later")
CLOSED = Reply(451, "4.2.1", "The mailbox cannot be opened now, try again later")
DUPLICATE = Reply(250, "2.1.5", "Delivered before, it is there")
NO_ROOM = Reply(452, "4.3.1", "There is no room on the disk, try again later")


class Delivered(Reply):
    """``news``: what notifyd is told of it (lmtp/news.py), b"" for nothing."""

    def __init__(self, news: bytes) -> None:
        super().__init__(250, "2.1.5", "Delivered")
        self.news = news


class Job:
    """A message for one recipient, or a question: would one of so many ``octets`` come?  (None: it is a
    message; 0: nobody knows how many.)

    ``maildir``: below ``home``, or absolute; ``detail``: behind the + of the address; ``folder``: a mailbox
    that must be there, "" for none; ``key``: of the duplicate list, "" for a message that is in none;
    ``quota``: of the account; ``poster``: who brings it, "" for anyone; ``fields``: ahead of the message."""

    __slots__ = ("detail", "fields", "folder", "home", "ignores_quota", "key", "maildir", "octets", "poster",
                 "quota")

    def __init__(self, home: str, maildir: str, fields: bytes, *, detail: str = "", folder: str = "",
                 key: str = "", quota: str = "", poster: str = "", ignores_quota: bool = False,
                 octets: int | None = None) -> None:
        self.home = home
        self.maildir = maildir
        self.fields = fields
        self.detail = detail
        self.folder = folder
        self.key = key
        self.quota = quota
        self.poster = poster
        self.ignores_quota = ignores_quota
        self.octets = octets

    def parts(self) -> list[bytes]:
        """As octets.  Raises ValueError for an account that names no path."""
        words = {"home": self.home, "maildir": self.maildir, "detail": self.detail, "folder": self.folder,
                 "key": self.key, "quota": self.quota, "poster": self.poster,
                 "ignores": "1" * self.ignores_quota,
                 "octets": "" if self.octets is None else str(self.octets)}
        if any("\0" in word for word in words.values()):
            raise ValueError("a NUL in an account")
        head = channels.pack(words)
        return [_JOB.pack(len(head)), head, self.fields]

    @classmethod
    def of(cls, data: bytes) -> Job:
        size = _JOB.unpack_from(data)[0]
        words = channels.unpack(data[_JOB.size:_JOB.size + size])
        return cls(words["home"], words["maildir"], data[_JOB.size + size:], detail=words["detail"],
                   folder=words["folder"], key=words["key"], quota=words["quota"], poster=words["poster"],
                   ignores_quota=words["ignores"] == "1", octets=decimal(words["octets"]))


# -- in the process that speaks with the client

class Carrier:
    """A process that is a user, and delivers to the Maildir of that one.

    ``pid`` and our ``end`` of a process that is a user."""

    __slots__ = ("end", "pid")

    def __init__(self, account: Account, environ: Mapping[str, str]) -> None:
        """OSError."""
        import hashlib  # noqa: F401  who has become the user may not be able to read the library
        self.end, theirs = passing.pair()
        with theirs:
            try:
                # told to end it finishes what it is at: its parent says when it is over, or is gone
                self.pid = proc.fork(partial(_work, theirs, account, environ), signal.SIGKILL,
                                     lambda number, frame: None)
            except OSError:
                self.end.close()
                raise

    def carry(self, job: Job, fds: Collection[int]) -> Reply | None:
        """None for a process that is lost."""
        patience = PATIENCE if fds else THOUGHT
        try:
            passing.send(self.end, job.parts(), fds)
            poll = select.poll()
            poll.register(self.end, select.POLLIN)
            if not poll.poll(int(patience * 1000)):
                log.err(f"a delivery has taken more than {patience:.0f} seconds: {job.home}")
                return None
            found = passing.receive(self.end)
        except (OSError, ValueError, passing.Refused) as error:
            log.err(f"a delivery cannot begin: {error}")
            return None
        if not found or not found[0]:
            return None
        words, ends, told = found[0].partition(_NEWS)
        return Delivered(told) if ends else Reply.of(words)

    def close(self) -> None:
        self.end.close()
        try:
            os.kill(self.pid, signal.SIGKILL)      # it is at nothing
            os.waitpid(self.pid, 0)
        except OSError:
            return


class Carriers:
    """The processes of one client, those that were used last at the end."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._all: dict[tuple[int, int, str], Carrier] = {}

    def carry(self, account: Account, job: Job, fd: int) -> Reply:
        """What became of the message in the file ``fd``; whatever is in doubt is for the client to try
        again."""
        return self._do(account, job, (fd,))

    def ask(self, account: Account, job: Job) -> Reply:
        """The answer to a question: 250 if the message would come."""
        return self._do(account, job, ())

    def _do(self, account: Account, job: Job, fds: Collection[int]) -> Reply:
        key = account.uid, account.gid, account.username
        carrier = self._all.pop(key, None)
        try:
            if carrier is None:
                self._make_room()
                carrier = Carrier(account, self._environ)
        except OSError as error:
            if due("carrier"):
                log.crit(f"no process for a delivery can be started: {error.strerror}")
            return LATER
        found = carrier.carry(job, fds)
        if found is None:
            carrier.close()
            return LATER
        self._all[key] = carrier
        if isinstance(found, Delivered) and found.news:
            news.tell(found.news, account.address, Settings(self._environ))
        return found

    def _make_room(self) -> None:
        while len(self._all) >= MOST:
            self._all.pop(next(iter(self._all))).close()

    def close(self) -> None:
        for carrier in self._all.values():
            carrier.close()
        self._all.clear()


# -- in the user's process

def _work(end: socket.socket, account: Account, environ: Mapping[str, str]) -> int:
    title.be(f"lmtpd: deliveries of {account.address}")
    refusal = None
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):              # the client is no affair of a user's
            os.dup2(nothing, fd)
        proc.keep_open((end.fileno(),))
        proc.become(account.uid, account.gid, account.username or None)
    except proc.ProcError as error:
        log.err(f"{account.address}: {error}")
        refusal = CLOSED
    umask = Settings(environ).umask()
    os.umask(os.umask(0o077) | 0o022 if umask is None else umask)
    for data, fds in passing.orders(end):
        try:
            reply = refusal or _done(Job.of(data), fds, environ)
        finally:
            passing.close(fds)
        passing.send(end, [reply.words, *([_NEWS, reply.news] if isinstance(reply, Delivered) else [])])
    return 0


def _done(job: Job, fds: list[int], environ: Mapping[str, str]) -> Reply:
    if job.octets is not None:
        return examine(job, job.octets, environ)
    passing.need(fds, 1)
    return bring(job, pieces(fds[0]), environ)


def bring(job: Job, message: Iterator[bytes], environ: Mapping[str, str]) -> Reply:
    """Deliver, as the user that we are.  Gives 250 when the message is on the disk, and 4xx for any doubt."""
    return _at(job, environ, lambda store, settings: _into(store, job, message, settings))


def examine(job: Job, octets: int, environ: Mapping[str, str]) -> Reply:
    """Would a message of so many octets come, by the mailbox, its rights and the quota?  Nothing changes."""
    def look(store: Store, settings: Settings) -> Reply:
        name = _mailbox(store, job, settings)
        if not job.ignores_quota:
            delivery.examine(store, name, octets)
        return Reply(250, "2.1.5", "It would come")
    return _at(job, environ, look)


def _at(job: Job, environ: Mapping[str, str], act: Callable[[Store, Settings], Reply]) -> Reply:
    """What ``act`` gives of the user's store; 4xx for any doubt."""
    settings = Settings({**environ, "HOME": job.home,
                         "MAILDIRQUOTA": job.quota or environ.get("MAILDIRQUOTA", "")})
    where = os.path.join(job.home, job.maildir)
    try:
        os.chdir(where)
        if settings.checks_owner:
            mine = os.stat(".")
            if mine.st_uid != os.geteuid():
                log.err(f"{where} belongs to uid {mine.st_uid}, not to uid {os.geteuid()}")
                return CLOSED
        store = Store.of(settings, environ.get("HOSTNAME"))
        if not store.layout.is_there():
            log.err(f"{where}: no Maildir: it has no cur, new and tmp")
            return CLOSED
        return act(store, settings)
    except Reply as refusal:
        return refusal
    except QuotaExceeded as error:
        log.err(f"{where}: {error}")
        return NO_ROOM if isinstance(error, DiskFull) else over_quota(settings)
    except OSError as error:
        named = error.filename if isinstance(error.filename, (str, bytes)) else ""
        missing = ": a Maildir was expected" if named == where and error.errno == errno.ENOENT else ""
        log.err(f"{os.path.join(where, os.fsdecode(named)).rstrip('/')}: {error.strerror or error}{missing}")
        return CLOSED
    except StoreError as error:
        log.err(f"{where}: {error}")
        return CLOSED
    except Exception as error:         # in doubt the client keeps the message
        log.crit(f"{where}: a message cannot come: {type(error).__name__}: {error}")
        return LATER


def _into(store: Store, job: Job, message: Iterator[bytes], settings: Settings) -> Reply:
    name = _mailbox(store, job, settings)
    known = Duplicates(store.options.index(store.layout.inbox),
                       settings.number("LMTP_DUPLICATE_DAYS") * DAY)
    key = _key(job.key, name)
    if known.find(key, store.path_of(name)):
        return DUPLICATE

    first = next(message, b"")         # the header is in it

    def all_of_it() -> Iterator[bytes]:
        yield job.fields
        yield first
        yield from message

    base = delivery.deliver(store, name, all_of_it(), job.ignores_quota)
    known.add(key, base)
    try:
        return Delivered(news.of(store, name, settings, first, base))
    except Exception as error:         # the message is there: nothing may bring it again
        log.crit(f"nobody is told of new mail: {type(error).__name__}: {error}")
        return Delivered(b"")


def _mailbox(store: Store, job: Job, settings: Settings) -> str:
    """Where the message goes.  Raises Reply where it may go to no other mailbox than one that is not there,
    or takes no mail; a store error."""
    word = job.folder or job.detail
    name = delivery.mailbox_for(store, word, job.poster)
    if name == INBOX and not delivery.names_inbox(store, word) and (
            job.folder or settings.flag("LMTP_DETAIL_MUST_EXIST")):
        raise Reply(550, "5.2.1", "There is no such mailbox, or it takes no mail")
    return name


def _key(word: str, name: str) -> str:
    """Of the duplicate list; the same message in another mailbox is another one."""
    import hashlib
    return hashlib.blake2b(f"{word} {name}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest() \
        if word else ""


def over_quota(settings: Settings) -> Reply:
    """Of a mailbox that has no room by its quota; who removes mail may make some."""
    if settings.flag("LMTP_OVERQUOTA_PERMANENT"):
        return Reply(552, "5.2.2", "The mailbox is full")
    return Reply(452, "4.2.2", "The mailbox is full")
