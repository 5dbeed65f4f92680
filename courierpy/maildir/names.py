"""Paths of mailboxes and directories, message names and flags.

A mailbox of a Maildir++ has a path, ``a.b``, or "" for INBOX; its directory in the Maildir
is ``.a.b`` or ``.``, in UTF-8.  A name on disk that is no UTF-8 shows each odd octet as one of
the private use characters U+EF80 to U+EFFF, which clients can be told and can say.
Nothing that a client names leads out of the Maildir: a component is not empty and
holds no slash or NUL, and no LF either, which would be two lines in the list of
subscriptions.
"""
from __future__ import annotations

import os
import time
from itertools import islice
from operator import lt

from courierpy.maildir.errors import NameInvalid
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence

LETTERS = ((b"D", DRAFT), (b"F", FLAGGED), (b"R", ANSWERED), (b"S", SEEN), (b"T", DELETED))
_BITS = {letter[0]: bit for letter, bit in LETTERS}
MAX_NAME = 255                     # bytes of a directory entry
MAILDIRSIZE = "maildirsize"        # the quota, in the Maildir itself


def directory(path: str) -> bytes:
    """The directory of the mailbox at ``path``, relative to the Maildir.  Raises NameInvalid."""
    if not path:
        return b"."
    entry = f".{path}"
    if "/" in entry or "\0" in entry or "\n" in entry or ".." in entry or entry.endswith("."):
        raise NameInvalid(f"bad component: {path!r}")
    octets = entry.encode() if entry.isascii() else on_disk(entry)
    if len(octets) > MAX_NAME:
        raise NameInvalid(f"too long: {path!r}")
    return octets


def mailbox_path(entry: bytes) -> str:
    """The path of the mailbox whose directory entry, which begins with a dot, this is."""
    return shown(entry)[1:]


_ODD = later("[\udc80-\udcff\uef80-\uefff]")
_PRIVATE = later("[\uef80-\uefff]")


def shown(octets: bytes) -> str:
    """A name on disk, or a level of one, as clients are told it.  Those private use characters
    themselves are shown by their octets, so that no two names look alike."""
    text = octets.decode("utf-8", "surrogateescape")
    return text if text.isascii() else _ODD.sub(_private, text)


def _private(match: re.Match[str]) -> str:
    return "".join(chr(0xEF00 + octet) for octet in match[0].encode("utf-8", "surrogateescape"))


def on_disk(name: str) -> bytes:
    """What shown() shows as ``name``.  Raises NameInvalid when it shows nothing so."""
    if name.isascii():
        return name.encode()
    text = _PRIVATE.sub(lambda match: chr(ord(match[0]) - 0xEF00 + 0xDC00), name)
    try:
        octets = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise NameInvalid(f"not encodable: {name!r}") from None
    if shown(octets) != name:
        raise NameInvalid(f"shown otherwise: {name!r}")
    return octets


def is_folder_entry(entry: bytes) -> bool:
    """Can this directory entry of the Maildir be a folder?"""
    return (entry.startswith(b".") and len(entry) > 1 and b".." not in entry
            and b"\n" not in entry and not entry.endswith(b"."))


def base(filename: bytes) -> bytes:
    """A message's name without flags: all before the last colon, if there is anything."""
    return filename.rpartition(b":")[0] or filename


def info(filename: bytes) -> bytes:
    """The flag letters behind ``:2,``; b"" when there are none."""
    _, colon, tail = filename.rpartition(b":")
    return tail[2:] if colon and tail.startswith(b"2,") else b""


def bits_of(letters: bytes) -> int:
    """The flags that the letters behind `:2,` say."""
    bits = 0
    for letter in letters:
        bits |= _BITS.get(letter, 0)
    return bits


# what stands behind the base name when no other program has a letter there, by flag bits
SUFFIXES = tuple(b":2," + b"".join(letter for letter, bit in LETTERS if bits & bit) for bits in range(32))
BITS_OF_SUFFIX = {suffix: bits for bits, suffix in enumerate(SUFFIXES)}


def with_flags(filename: bytes, bits: int) -> bytes:
    """The name with these flags; letters of other programs stay."""
    foreign = bytes(letter for letter in info(filename) if letter not in _BITS)
    ours = b"".join(letter for letter, bit in LETTERS if bits & bit)
    return base(filename) + b":2," + bytes(sorted(set(ours + foreign)))


def sort_key(name: bytes) -> tuple[int, bytes]:
    """New messages are numbered by the number their name begins with, then the rest."""
    digits = len(name) - len(name.lstrip(b"0123456789"))
    return (int(name[:digits]) if digits else 0), name[digits:]


_TIME = later(rb"([0-9]{9,10})[._]")


def time_of(name: bytes) -> int | None:
    """When the message came to its mailbox, in seconds since 1970, as every program that brings one there
    writes it at the beginning of the name; None of a name without."""
    found = _TIME.match(name)
    return int(found[1]) if found is not None else None


_OF_OTHER_DAYS = later(rb"\n(?![0-9]{10}\.)")


_BITS_OF_LETTERS = {suffix[1:]: bits for suffix, bits in BITS_OF_SUFFIX.items()}


def in_columns(files: Iterable[bytes]) -> tuple[list[bytes], bytearray, dict[int, bytes]] | None:
    """(Base names in the order in which they are numbered, flags, row -> file name where other letters than
    those of the flags are in it) of messages with these file names.  None where not all are as nearly all
    are: ten digits first, one colon, no base name twice."""
    ordered = sorted(files)
    text = b"\n".join((b"", *ordered))
    words = text.replace(b":", b"\n").split(b"\n")
    if len(words) != 2 * len(ordered) + 1 or _OF_OTHER_DAYS.search(text) is not None:
        return None
    # a name with more colons, or without, would have the digits of one in the place of letters
    bases, letters = words[1::2], words[2::2]
    bits = list(map(_BITS_OF_LETTERS.get, letters))
    odd: dict[int, bytes] = {}
    for row, found in enumerate(bits) if None in bits else ():
        if found is None:
            if not letters[row].startswith(b"2,"):
                return None
            odd[row], bits[row] = bases[row] + b":" + letters[row], bits_of(letters[row][2:])
    if not all(map(lt, bases, islice(bases, 1, None))):
        return None
    return bases, bytearray(bits), odd  # type: ignore[arg-type]


def in_order(names: Iterable[bytes]) -> list[bytes]:
    """Base names in the order in which they are numbered."""
    ordered = sorted(names)
    if _OF_OTHER_DAYS.search(b"\n" + b"\n".join(ordered)) is None:
        return ordered                 # seconds of ten digits: bytes and numbers sort alike
    return sorted(ordered, key=sort_key)


_counter = 0


def tmp_name(host: str, unique: str | None = None, size: int | None = None) -> str:
    """A fresh name for tmp/: ``<sec>.M<usec>P<pid>_<unique>.<host>[,S=<size>]``.

    The microseconds have six digits, so that the messages of one second sort as they came.
    """
    global _counter
    now = time.time_ns() // 1000
    if unique is None:
        unique = str(_counter)
        _counter += 1
    tail = f",S={size}" if size is not None else ""
    return f"{now // 1000000}.M{now % 1000000:06d}P{os.getpid()}_{unique}.{host}{tail}"


def unique_name(tmp: str, device: int, inode: int) -> str:
    """The final name of a file in tmp/: device and inode join behind the pid."""
    head, under, tail = tmp.partition("_")
    return f"{head}V{device:016X}I{inode:016X}{under}{tail}"


def unique_names(host: str, files: Sequence[os.stat_result]) -> list[bytes]:
    """Fresh final names of these files, which sort in the order of the files: tmp_name() and unique_name()
    of many, with a microsecond between each and the next."""
    global _counter
    now, first, process, machine = time.time_ns() // 1000, _counter, os.getpid(), os.fsencode(host)
    _counter += len(files)
    return [b"%d.M%06dP%dV%016XI%016X_%d.%s" % (
        (now + at) // 1000000, (now + at) % 1000000, process, file.st_dev, file.st_ino, first + at, machine)
        for at, file in enumerate(files)]


def fresh_name(host: str, file: bytes, found: os.stat_result) -> bytes:
    """A file name as unique_names() gives it, with what ``file`` says of flags: for a message whose own name
    another one has."""
    fresh, = unique_names(host, [found])
    return fresh + b":" + (file.partition(b":")[2] or b"2,")


def host_name(given: str | None) -> str:
    """The host part of names: no slash, colon or comma can be in it."""
    name = given or os.uname().nodename or "localhost"
    return name.replace("/", "_").replace(":", "_").replace(",", "_")
