"""What Dovecot keeps in a Maildir that it serves: numbers, keywords, subscriptions.

Read once, while a folder has no file of Courier's: ``takeover`` and
``subscriptions``.  From then on Courier's files are the truth, and Dovecot's are
not looked at; only ``courierpy convert`` writes them.

``dovecot-uidlist``, version 1: ``1 <uidvalidity> <uidnext>``, then ``<uid> <base>``
a line; ``courierimapuiddb`` is the same.  Version 3: ``3 V<uidvalidity> N<uidnext>
G<guid>``, then ``<uid> [<letter><value> ...] :<file name>``.  Lines are appended, so
``N`` may lag behind them.

``dovecot-keywords``: ``<0..25> <keyword>`` a line.  A letter a..z in a message's file
name stands for that number.  A keyword beyond 26 is only in Dovecot's index, which
is not read.

``subscriptions``: a name a line, without the namespace's prefix.  Version 2 begins
with ``V<tab>2`` and an empty line and has tabs between the levels of a name.

Folders are directories as with Courier, but their names are modified UTF-7 unless
``mail_location`` says ``:UTF-8``.  A directory is never renamed by a server: one in
modified UTF-7 is shown by the name that it has until it is converted.
"""
from __future__ import annotations

import os
import re
import time
from binascii import Error, a2b_base64, b2a_base64
from codecs import utf_16_be_decode, utf_16_be_encode

from courierpy.maildir.errors import Busy, NameInvalid, trouble
from courierpy.maildir.files import content, remove, unlink
from courierpy.maildir.names import base, directory, host_name, info, mailbox_path, tmp_name
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.system import log
from courierpy.system.regular import open_regular, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

UIDLIST = "dovecot-uidlist"
KEYWORDS = "dovecot-keywords"
SUBSCRIPTIONS = "subscriptions"
UIDVALIDITY = "dovecot-uidvalidity"
RIGHTS = "dovecot-acl"             # not read
INDEX = "dovecot.index"            # the beginning of the names of its index files
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
MAX_UID = 0xFFFFFFFF               # RFC 9051 2.3.1.1

STALE = 120.0                      # seconds: a dotlock of this age is nobody's, as Dovecot sees it
PATIENCE = 14.0                    # seconds that a dotlock is waited for
PAUSE = 0.02                       # seconds between two tries

_VERSION_2 = b"V\t2\n"
_KEYWORD = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+")
_SHIFT = re.compile(rb"&([A-Za-z0-9+,]*)-")
_NOT_DIRECT = re.compile("[^\x20-\x7e]+|&")


class Uidlist:
    """The numbers of a folder.

    ``names``: base name -> UID, no UID twice.  ``fields``: base name -> what else a
    line of version 3 says (``W45 S40``), where it says something.  ``header``: the
    fields of the first line that are not V and N.
    """

    __slots__ = ("fields", "header", "names", "uidnext", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, names: dict[bytes, int],
                 fields: dict[bytes, bytes] | None = None, header: bytes = b"") -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.names = names
        self.fields = fields or {}
        self.header = header

    def contradicts(self, other: Uidlist) -> bool:
        """Has a message another number there, or a number another message?"""
        if self.uidvalidity != other.uidvalidity:
            return True
        owners = {uid: name for name, uid in self.names.items()}
        return any(self.names.get(name, uid) != uid or owners.get(uid, name) != name
                   for name, uid in other.names.items())

    def with_more(self, other: Uidlist) -> Uidlist:
        """With what only the other knows: fields, and messages whose numbers are free."""
        fields = {**other.fields, **self.fields}
        if self.uidvalidity != other.uidvalidity:
            return Uidlist(self.uidvalidity, self.uidnext, self.names, fields, self.header)
        taken = set(self.names.values())
        more = {name: uid for name, uid in other.names.items() if name not in self.names and uid not in taken}
        return Uidlist(self.uidvalidity, max(self.uidnext, other.uidnext), {**self.names, **more}, fields,
                       self.header or other.header)

    def field(self, name: bytes, letter: bytes) -> bytes:
        """What the line of a message says behind this letter; empty where it says nothing."""
        words = self.fields.get(name, b"").split()
        return next((word[1:] for word in words if word[:1] == letter), b"")

    def tell(self, uidls: Mapping[bytes, bytes]) -> None:
        """Writes down these POP3 UIDLs, by base name, of messages that have none written down."""
        for name in self.names.keys() & uidls.keys():
            if not self.field(name, b"P"):
                self.fields[name] = (self.fields.get(name, b"") + b" P" + uidls[name]).lstrip()

    def match(self, present: Iterable[bytes]) -> None:
        """Dovecot's base name ends before the first colon of a file name, ours before the
        last: let these messages have ours."""
        for name in present:
            short = name.partition(b":")[0]
            if len(short) < len(name) and short in self.names and name not in self.names:
                self.names[name] = self.names.pop(short)
                if short in self.fields:
                    self.fields[name] = self.fields.pop(short)

    def text(self) -> bytes:
        """As version 3."""
        lines = [b"3 V%d N%d %s" % (self.uidvalidity, self.uidnext, self.header)]
        for uid, name in sorted((uid, name) for name, uid in self.names.items()):
            fields = self.fields.get(name)
            head = b"%d %s" % (uid, fields) if fields else b"%d" % uid
            lines.append(head + b" :" + name.partition(b":")[0])
        return lines[0].rstrip() + b"\n" + b"".join(line + b"\n" for line in lines[1:])

    def courier_text(self) -> bytes:
        """As ``courierimapuiddb``."""
        rows = sorted((uid, name) for name, uid in self.names.items())
        return b"1 %d %d\n" % (self.uidvalidity, self.uidnext) + b"".join(b"%d %s\n" % row for row in rows)


def takeover(folder_path: str, present: Mapping[bytes, bytes]) -> tuple[
        Uidlist, dict[bytes, frozenset[bytes]]] | None:
    """What Dovecot knew of this folder: the numbers of all that it numbered, and base name -> keywords of the
    messages that are there and have some; None when it never served it.

    ``present``: base name -> file name, of all messages that are there.  For the
    session that holds the folder's lock and found no ``courierimapuiddb``.  Raises a
    store error when a file is there and cannot be read.
    """
    path = os.path.join(folder_path, UIDLIST)
    uidlist = read_uidlist(path)
    if uidlist is None:
        if os.path.exists(path):
            log.warn(f"{path}: not of a version that is known: messages are numbered anew")
        return None
    table = read_keywords(os.path.join(folder_path, KEYWORDS))
    uidlist.match(present)
    keywords = {}
    for name, filename in present.items() if table else ():
        words = words_of(filename, table)
        if words:
            keywords[name] = words
    return uidlist, keywords


# -- numbers

def read_uidlist(path: str) -> Uidlist | None:
    """None without a file, or when its first line is none of version 1 or 3."""
    data = content(path)
    return None if data is None else parse_uidlist(data)


def parse_uidlist(data: bytes) -> Uidlist | None:
    """The last line of a name counts; what is no line, and a number's second name, is passed over."""
    lines = data.split(b"\n")
    head = lines[0].split()
    version = head[0] if head else b""
    fields: dict[bytes, bytes] = {}
    if version == b"3":
        header = {word[:1]: word[1:] for word in head[1:]}
        validity, uidnext = _number(header.pop(b"V", b"")), _number(header.pop(b"N", b"1"))
        rest = b" ".join(letter + value for letter, value in header.items())
        rows = _rows_3(lines[1:], fields)
    elif version == b"1" and len(head) == 3:
        validity, uidnext, rest = _number(head[1]), _number(head[2]), b""
        rows = _rows_1(lines[1:])
    else:
        return None
    if not validity:
        return None
    found: dict[bytes, int] = {}
    for uid, name in rows:
        found[name] = uid
        uidnext = max(uidnext, uid + 1)
    owners: dict[int, bytes] = {}
    for name, uid in found.items():
        owners.setdefault(uid, name)
    names = found if len(owners) == len(found) else {name: uid for uid, name in owners.items()}
    return Uidlist(validity, max(uidnext, 1), names, fields, rest)


def _rows_1(lines: list[bytes]) -> Iterable[tuple[int, bytes]]:
    for line in lines:
        number, _, name = line.partition(b" ")
        uid = _number(number)
        if uid and name:
            yield uid, _without_flags(name)


def _rows_3(lines: list[bytes], fields: dict[bytes, bytes]) -> Iterable[tuple[int, bytes]]:
    for line in lines:
        head, colon, filename = line.partition(b" :")
        number, _, more = head.partition(b" ")
        uid = _number(number)
        if uid and filename:
            name = _without_flags(filename)
            fields.pop(name, None)
            if more:
                fields[name] = more
            yield uid, name


def _without_flags(name: bytes) -> bytes:
    # a colon in a base name, as Courier's file may have it, stays
    head, _, tail = name.rpartition(b":")
    return head if head and tail.startswith((b"2,", b"1,")) else name


def _number(word: bytes) -> int:
    """0 for what is no number of a message or a folder."""
    return decimal(word, MAX_UID - 1) or 0


def last_uidvalidity(root: str) -> int:
    """The highest UIDVALIDITY that Dovecot gave to a folder of this account; 0 when unknown."""
    data = content(os.path.join(root, UIDVALIDITY)) or b""
    return int(data[:8], 16) if re.fullmatch(rb"[0-9a-fA-F]{8}\s*", data) else 0


# -- keywords

def read_keywords(path: str) -> dict[int, bytes]:
    """Number -> keyword; empty without a file.  What cannot be a keyword is passed over."""
    table: dict[int, bytes] = {}
    spelling: dict[bytes, bytes] = {}
    for line in (content(path) or b"").split(b"\n"):
        digits, _, word = line.partition(b" ")
        number = decimal(digits, 25)
        if number is not None and _KEYWORD.fullmatch(word):
            # one keyword in two spellings is one
            table[number] = spelling.setdefault(word.lower(), word)
    return table


def keywords_text(table: Mapping[int, bytes]) -> bytes:
    """A whole ``dovecot-keywords``."""
    return b"".join(b"%d %s\n" % row for row in sorted(table.items()))


def words_of(filename: bytes, table: Mapping[int, bytes]) -> frozenset[bytes]:
    """The keywords that the letters of a file name say."""
    found = {table[letter - 97] for letter in info(filename) if letter - 97 in table}
    return frozenset(found) if found else NO_KEYWORDS


def with_words(filename: bytes, words: frozenset[bytes], table: Mapping[int, bytes]) -> bytes:
    """The file name with letters for these keywords and no others; flags stay."""
    wanted = {word.lower() for word in words}
    flags = bytes(letter for letter in info(filename) if letter not in LETTERS)
    ours = bytes(number + 97 for number, word in table.items() if word.lower() in wanted)
    if not ours and not any(letter in LETTERS for letter in info(filename)):
        return filename
    return base(filename) + b":2," + bytes(sorted(set(flags + ours)))


def assign(table: Mapping[int, bytes], uses: Mapping[bytes, int]) -> tuple[dict[int, bytes], list[bytes]]:
    """Numbers for keywords, and the keywords for which there is none left.

    ``uses``: keyword -> number of messages that have it; the rarest get none.  A
    keyword keeps its number; a row that nobody uses stays while there is room.
    """
    wanted = {word.lower() for word in uses}
    known = {word.lower() for word in table.values()}
    fresh = sorted((word for word in uses if word.lower() not in known), key=lambda word: (-uses[word], word))
    unused = [number for number, word in sorted(table.items()) if word.lower() not in wanted]
    free = [number for number in range(26) if number not in table] + unused
    return {**table, **dict(zip(free, fresh, strict=False))}, fresh[len(free):]


# -- subscriptions and names

def subscriptions(root: str) -> list[str] | None:
    """The paths of the mailboxes of a Maildir++ that are subscribed to; None when there is no list.

    For an account without ``courierimapsubscribed``.  A name that is a directory is
    that directory; else it is decoded, and an ``INBOX.`` in front of it, which only
    other programs write, is the prefix.
    """
    data = content(os.path.join(root, SUBSCRIPTIONS))
    if data is None:
        return None
    found: dict[str, None] = {}
    for line in data.removeprefix(_VERSION_2).split(b"\n"):
        path = _subscribed(root, line.replace(b"\t", b".").replace(b"/", b"."))
        try:
            directory(path or "")
        except NameInvalid:
            continue
        if path is not None:
            found[path] = None
    return list(found)


def subscribed_levels(root: str) -> list[list[bytes]] | None:
    """The levels of each folder that is subscribed to, as they are on disk, where a folder lies in
    another (``LAYOUT=fs``); None when there is no list."""
    data = content(os.path.join(root, SUBSCRIPTIONS))
    if data is None:
        return None
    separator = b"\t" if data.startswith(_VERSION_2) else b"/"
    return [line.split(separator) for line in data.removeprefix(_VERSION_2).split(b"\n") if line]


def _subscribed(root: str, name: bytes) -> str | None:
    if not name:
        return None
    if name.upper() == INBOX.encode():
        return ""
    if name[:6].upper() == f"{INBOX}.".encode() and not is_directory(root, name):
        name = name[6:]
    return mailbox_path(b"." + (name if is_directory(root, name) else courier_name(name)))


def subscriptions_text(rows: Iterable[Sequence[bytes]], before: bytes | None, separator: bytes) -> bytes:
    """The list of the folders whose levels these are, in the version of the one before; version 2 when
    there was none.  ``separator``: between the levels in version 1."""
    if before is None or before.startswith(_VERSION_2):
        return _VERSION_2 + b"\n" + b"".join(b"\t".join(levels) + b"\n" for levels in rows)
    return b"".join(separator.join(levels) + b"\n" for levels in rows)


def is_directory(root: str, name: bytes) -> bool:
    """Is there a mailbox of this name in the Maildir++ at ``root``?"""
    return os.path.isdir(os.path.join(os.fsencode(root), b"." + name))


def courier_name(name: bytes) -> bytes:
    """``a.b`` in modified UTF-7 as UTF-8.  What is none, or no name of Courier's, stays;
    and what would still look like modified UTF-7, so that twice is the same as once."""
    decoded = _decode(name)
    if decoded is None or _decode(decoded) not in (None, decoded):
        return name
    try:
        return directory(mailbox_path(b"." + decoded))[1:]
    except NameInvalid:
        return name


def dovecot_name(name: bytes) -> bytes:
    """``a.b`` in UTF-8 as modified UTF-7.  What is in modified UTF-7 already, or no UTF-8, stays."""
    if _decode(name) not in (None, name):
        return name
    try:
        return _encode(name.decode())
    except UnicodeDecodeError:
        return name


# The same encoding as on the wire, but that is another part's, and here a name may be in neither.
# Not str.encode: a codec found by its name is loaded from a file, which the user may not read.

def _encode(name: str) -> bytes:
    def shifted(match: re.Match[str]) -> str:
        if match[0] == "&":
            return "&-"
        base64 = b2a_base64(utf_16_be_encode(match[0])[0], newline=False)
        return "&" + base64.rstrip(b"=").replace(b"/", b",").decode() + "-"

    return _NOT_DIRECT.sub(shifted, name).encode()


def _decode(name: bytes) -> bytes | None:
    """As UTF-8; None when it is not modified UTF-7 in its one right form."""
    def direct(match: re.Match[bytes]) -> bytes:
        base64 = match[1].replace(b",", b"/") + b"=" * (-len(match[1]) % 4)
        return utf_16_be_decode(a2b_base64(base64), "strict", True)[0].encode() if match[1] else b"&"

    try:
        text = _SHIFT.sub(direct, name)
        return text if _encode(text.decode()) == name else None
    except (Error, UnicodeError):
        return None


# -- files

class Dotlock:
    """``<path>.lock`` as Dovecot takes it, around a change of ``path``, a file of a folder.
    ``scratch``: a directory for what becomes the lock; without one the folder's tmp/.

    Raises Busy after ``PATIENCE`` seconds.  Programs of ours hold the folder's lock
    besides, so that only one of them judges whether it is stale; and a process of ours
    takes it once.
    """

    def __init__(self, path: str, scratch: str = "") -> None:
        self.path = path + ".lock"
        self._scratch = scratch or os.path.join(os.path.dirname(path), "tmp")

    def __enter__(self) -> Dotlock:
        end = time.monotonic() + PATIENCE
        while not self._make():
            if not self._is_stale():
                if time.monotonic() > end:
                    raise Busy(f"{self.path}: held")
                time.sleep(PAUSE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:
        try:
            ours = whole(self.path, 300) == _owner()
            if ours:
                os.unlink(self.path)
            else:
                log.warn(f"{self.path}: another has it: we held it for too long")
        except OSError as error_:
            log.warn(f"{self.path}: {error_.strerror}")

    def _make(self) -> bool:
        # link, not O_EXCL: an empty lock, of a process that died before it wrote, would be waited for
        mine = os.path.join(self._scratch, tmp_name(host_name(None), "dotlock"))
        try:
            fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                os.write(fd, _owner())
            finally:
                os.close(fd)
            os.link(mine, self.path)
        except FileExistsError:
            return False
        except OSError as error:
            raise trouble(self.path, error) from None
        finally:
            remove(mine)
        return True

    def _is_stale(self) -> bool:
        """Is it gone, or taken away now?"""
        try:
            # a link that leads nowhere is no lock that is gone
            with open(open_regular(self.path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                pid, _, host = file.read(300).partition(b":")
                age = time.time() - os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return True
        except OSError as error:
            raise trouble(self.path, error) from None
        if age < STALE and not (host == os.uname().nodename.encode() and _is_dead(pid)):
            return False
        unlink(self.path)
        return True


def _owner() -> bytes:
    return f"{os.getpid()}:{os.uname().nodename}".encode()


def _is_dead(pid: bytes) -> bool:
    number = decimal(pid, PID_MOST)
    if number is None:
        return False
    if number == os.getpid():
        return True                    # an earlier process with our number
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
