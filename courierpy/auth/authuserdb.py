"""Accounts of a userdb text file, or of a directory of them.  Courier's fields; no makeuserdb step.

``name<TAB>field=value|field=value``.  USERDB names the file; it must not be
readable or writable by others.  ``clearpw`` (ours) holds a clear password for
CRAM and SCRAM.
"""
from __future__ import annotations

import errno
import os
import re
import stat
import time

from courierpy.auth import (
    DELIVERY,
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    number_of,
    stored,
)
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "/etc/courier/userdb"
# what editors and packages leave beside a file
_LEFT = re.compile(r"^[.#]|~$|\.(?:bak|lock|orig|tmp|rpmnew|rpmorig|rpmsave|dpkg-\w+|ucf-\w+)$")


def lookup(request: Request) -> Account:
    user = stored.user_of(request)
    path = request.environ.get("USERDB") or DEFAULT
    if request.service == DELIVERY and _is_meant(path, request.environ) and not os.path.lexists(path):
        raise TemporaryFailure(f"{path}: it is not there")     # else good mail would go back
    records = read(path)
    fields = records.get(user)
    if fields is None:
        stored.like_one(request, next((secret for other in records.values()
                                       if (secret := _secret(other, request.service))), stored.DUMMY))
        raise Rejected
    secret = _secret(fields, request.service)
    kind = request.kind.removeprefix("cram-")
    states = fields.get(f"{request.service}-hmac-{kind}pw") or fields.get(f"hmac-{kind}pw", "")
    clear = stored.proved(request, [secret], fields.get("clearpw", ""), states)
    return _account(user, fields, secret, clear)


def _is_meant(path: str, environ: Mapping[str, str]) -> bool:
    """True if there are accounts in this userdb, as far as is known while it is not there.  Where the
    settings name neither another file than the default one nor any module, all may be the system's."""
    return path != DEFAULT or bool(environ.get("AUTHMODULES")) or path in _read


# path -> (what stat said, the records): a helper reads a file that is as it was only once
_read: dict[str, tuple[tuple[int, ...], dict[str, dict[str, str]]]] = {}


def read(path: str) -> dict[str, dict[str, str]]:
    """name -> fields, of a file or all files of a directory.

    Raises TemporaryFailure, Rejected when there is no such file.
    """
    known = _known(path)
    if known is not None:              # a file
        return known
    records: dict[str, dict[str, str]] = {}
    files = _files(path)
    if len(files) == 1:
        return _records(files[0])
    for file in files:
        records.update(_records(file))
    return records


def _known(path: str) -> dict[str, dict[str, str]] | None:
    """The records of a file that is as it was when it was read."""
    known = _read.get(path)
    if known is None:
        return None
    try:
        now = os.lstat(path)
    except OSError:
        return None
    # a file of the last two seconds may still change within the clock's grain
    return known[1] if known[0] == _stamp(now) and time.time() - now.st_ctime > 2 else None


def _stamp(now: os.stat_result) -> tuple[int, ...]:
    return now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino, now.st_mode


def _records(path: str) -> dict[str, dict[str, str]]:
    known = _known(path)
    if known is not None:
        return known
    try:
        stamp = _stamp(os.lstat(path))
    except OSError:
        _text(path)                    # says what is wrong
        return {}
    records: dict[str, dict[str, str]] = {}
    for line in _text(path).splitlines():
        name, tab, rest = line.partition("\t")
        if tab and not name.startswith("#"):
            pairs = (field.partition("=") for field in rest.strip().split("|"))
            records[name] = {key: value for key, _, value in pairs}
    _read[path] = (stamp, records)
    return records


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if not _LEFT.search(name)]


def _text(path: str) -> str:
    try:
        fd = open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
                raise TemporaryFailure(f"{path}: others can read or write it, mode must be 0600")
            return file.read()
    except FileNotFoundError:
        raise Rejected from None
    except OSError as error:
        why = "must not be a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise TemporaryFailure(f"{path}: {why}") from None


def _secret(fields: dict[str, str], service: str) -> str:
    return fields.get(f"{service}pw") or fields.get("systempw", "")


def _account(user: str, fields: dict[str, str], secret: str, clear: str) -> Account:
    """Of a row whose password is right."""
    try:
        return Account(user, number_of(fields["uid"]), number_of(fields["gid"]), fields["home"],
                       name=fields.get("gecos", ""), maildir=fields.get("mail", ""),
                       quota=fields.get("quota", ""), passwd=secret, passwd2=clear,
                       options=fields.get("options", ""))
    except (KeyError, ValueError):
        raise Unservable(f"userdb: {user}: uid, gid or home is missing or bad") from None
