"""courierpy user add|passwd|del|list: the accounts of a userdb.

The file is written whole and renamed into its place; what another program wrote there
stays as it is, line by line.  A new password replaces all forms of the old one.
"""
from __future__ import annotations

import argparse
import os
import stat
import sys
from contextlib import contextmanager

from courierpy.admin import complain, default_files, read_settings
from courierpy.admin.secrets import NoPassword, ask
from courierpy.auth import Rejected, number_of
from courierpy.auth.sasl import text_of
from courierpy.system.regular import open_regular
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HASHES = ("sha512_crypt", "sha256_crypt", "bcrypt", "argon2", "md5_crypt")
SECRET = "systempw"                # the field for every service
FORBIDDEN = "\t\n\r\0|"            # in names and values: they end them
FIELDS = ("uid", "gid", "home", "mail", "quota", "gecos", "options")


class Wrong(Exception):
    """str() says what cannot be done, and what to do instead."""


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy user", description="the accounts of a userdb; passwords "
                                     "are asked, or are a line of standard input")
    _with_files(parser, None)
    actions = parser.add_subparsers(dest="action", metavar="add|passwd|del|list", required=True)
    adding = actions.add_parser("add", help="add an account")
    changing = actions.add_parser("passwd", help="change the password of an account")
    for action in (adding, changing):
        action.add_argument("name")
        action.add_argument("--hash", choices=HASHES, default=HASHES[0], help=f"default: {HASHES[0]}")
        action.add_argument("--clear", action="store_true",
                            help="keep the clear password too: CRAM and SCRAM need it")
    adding.add_argument("--uid", help="number, or name of a system user; default: the system user NAME")
    adding.add_argument("--gid", help="number; default: the group of that system user")
    adding.add_argument("--home", help="home directory; default: that of the system user NAME")
    adding.add_argument("--mail", help="the Maildir, absolute or below the home directory")
    adding.add_argument("--quota", help="as 1000000S,1000C")
    adding.add_argument("--gecos", help="full name")
    adding.add_argument("--options", help="account options, comma separated")
    actions.add_parser("del", help="remove an account; its mail stays").add_argument("name")
    actions.add_parser("list", help="show the accounts, without passwords")
    for action in actions.choices.values():
        _with_files(action, argparse.SUPPRESS)         # as most people write them: behind the action
    options = parser.parse_args(words)
    path = options.userdb or Settings(read_settings(options.files or default_files())).text("USERDB")
    try:
        {"add": _add, "passwd": _passwd, "del": _delete, "list": _list}[options.action](path, options)
    except Wrong as error:
        complain(str(error))
        return 1
    except NoPassword as error:
        complain(f"{options.name}: {error}")
        return 1
    return 0


def _with_files(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", default=default,
                        help="settings file: USERDB")
    parser.add_argument("-f", dest="userdb", metavar="FILE", default=default,
                        help="the userdb, instead of USERDB")


# -- what is done

def _add(path: str, options: argparse.Namespace) -> None:
    _check("name", options.name)
    if options.name.startswith("#"):
        raise Wrong(f"{options.name}: a row that begins with # is a comment: take another name")
    try:
        text_of(os.fsencode(options.name))
    except Rejected:
        raise Wrong(f"name {options.name!r}: a login gives UTF-8 without control characters only") from None
    if os.path.lexists(path):
        _need_none(split(read(path)), path, options.name)
    fields = _account(options)
    fields |= _secrets(ask(options.name, twice=True), options)
    with changing(path, new=True) as rows:
        _need_none(rows, path, options.name)
        rows.append(row_of(options.name, fields))
    print(f"{path}: {options.name} added")


def _passwd(path: str, options: argparse.Namespace) -> None:
    _need(split(read(path)), path, options.name)
    secrets = _secrets(ask(options.name, twice=True), options)
    with changing(path) as rows:
        at = _need(rows, path, options.name)
        # a service's own password, its clear form and what CRAM compares with are the old one
        kept = {key: value for key, value in fields_of(rows[at]).items() if not key.endswith("pw")}
        rows[at] = row_of(options.name, kept | secrets)
    print(f"{path}: password of {options.name} changed")


def _delete(path: str, options: argparse.Namespace) -> None:
    with changing(path) as rows:
        at = _need(rows, path, options.name)
        home = fields_of(rows[at]).get("home", "")
        del rows[at]
    print(f"{path}: {options.name} removed; mail in {home} stays")


def _list(path: str, options: argparse.Namespace) -> None:
    rows = split(read(path))
    if not any("\t" in row for row in rows):
        complain(f"{path}: no accounts in it: courierpy user add NAME makes one")
    for number, row in enumerate(rows, 1):
        if row.strip() and "\t" not in row and not row.startswith("#"):
            complain(f"{path}:{number}: no account: a name, a tab and FIELD=VALUE with | between "
                     "were expected")
        name, fields = row.partition("\t")[0], fields_of(row)
        if "\t" in row and not name.startswith("#"):
            shown = [f"{key}={fields[key]}" for key in FIELDS if key in fields]
            forms = sorted(key for key in fields if key.endswith("pw"))
            print("\t".join([name, "|".join(shown), ",".join(forms) or "no password"]))


# -- values

def _account(options: argparse.Namespace) -> dict[str, str]:
    """The fields of a new row, less the password."""
    import pwd
    known = None
    try:
        known = pwd.getpwnam(options.uid or options.name)
    except (KeyError, ValueError):
        pass
    uid = str(known.pw_uid) if known is not None else options.uid
    gid = options.gid or (str(known.pw_gid) if known is not None else options.uid)
    home = options.home or (known.pw_dir if known is not None and not options.uid else None)
    if uid is None or home is None:
        raise Wrong(f"{options.name}: there is no system user of this name, so --uid and --home are needed: "
                    "whose the mail is, and the directory that has the Maildir in it")
    for option, value in (("--uid", uid), ("--gid", gid)):
        try:
            if not number_of(value):
                raise Wrong(f"{option} {value}: root's mail is never served: take the id of a user")
        except ValueError:
            raise Wrong(f"{option} {value}: a number, or for --uid the name of a system user, was expected"
                        ) from None
    fields = {"uid": uid, "gid": gid, "home": home}
    fields |= {key: value for key in FIELDS[3:] if (value := getattr(options, key))}
    for key, value in fields.items():
        _check(f"--{key}", value)
    if not home.startswith("/"):
        raise Wrong(f"--home {home}: a path that begins with / was expected")
    if not os.path.isdir(home):
        complain(f"{home} is not there: without it {options.name} cannot log in")
    return fields


def _check(what: str, value: str) -> None:
    if not value or any(char in FORBIDDEN for char in value):
        raise Wrong(f"{what} {value!r}: it must not be empty, nor hold a tab, a line's end or |")


def _secrets(password: str, options: argparse.Namespace) -> dict[str, str]:
    import passlib.hash
    fields = {SECRET: getattr(passlib.hash, options.hash).hash(password)}
    if options.clear:
        if "|" in password:
            raise Wrong("--clear: a clear password with | in it would end the field: take another")
        fields["clearpw"] = password
    return fields


# -- the file

def fields_of(row: str) -> dict[str, str]:
    pairs = (field.partition("=") for field in row.partition("\t")[2].strip().split("|"))
    return {key: value for key, _, value in pairs if key}


def row_of(name: str, fields: dict[str, str]) -> str:
    return name + "\t" + "|".join(f"{key}={value}" for key, value in fields.items())


def find(rows: list[str], name: str) -> int | None:
    """Where the row of an account is; of several the one that counts, the last."""
    found = [at for at, row in enumerate(rows) if row.startswith(f"{name}\t")]
    return found[-1] if found else None


def _need_none(rows: list[str], path: str, name: str) -> None:
    if find(rows, name) is not None:
        raise Wrong(f"{name}: there is such an account in {path}: courierpy user passwd {name} changes its "
                    "password")


def _need(rows: list[str], path: str, name: str) -> int:
    at = find(rows, name)
    if at is None:
        from courierpy.admin import nearest
        near = nearest(name, [row.partition("\t")[0] for row in rows if "\t" in row])
        raise Wrong(f"{name}: no such account in {path}" + (f"; did you mean {near}?" if near else
                                                            '; "courierpy user list" shows them'))
    return at


def split(text: str) -> list[str]:
    """The rows, whole or not."""
    rows = text.split("\n")
    return rows if rows[-1] else rows[:-1]


def read(path: str) -> str:
    if os.path.isdir(path):
        raise Wrong(f"{path}: a directory of userdb files: name one of them by -f")
    fd = open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(fd, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return file.read()


@contextmanager
def changing(path: str, new: bool = False) -> Iterator[list[str]]:
    """The rows of the file, to be changed; then it is written, unless that raised.  ``new``: it may be
    missing.  Raises OSError, Wrong."""
    import fcntl
    above = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(above, fcntl.LOCK_EX)          # of two that change it one waits
        try:
            text = read(path)
            owner = os.stat(path)
        except FileNotFoundError:
            if not new:
                raise
            text, owner = "", None
        rows = split(text)
        yield rows
        _write(path, "".join(f"{row}\n" for row in rows), owner)
        os.fsync(above)
    finally:
        os.close(above)


def _write(path: str, text: str, owner: os.stat_result | None) -> None:
    scratch = f"{path}.{os.getpid()}.tmp"
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            if owner is not None and os.geteuid() == 0:
                os.fchown(fd, owner.st_uid, owner.st_gid)
            if owner is not None and stat.S_IMODE(owner.st_mode) & 0o077:
                print(f"{path}: its mode is 0600 now, as the server wants it", file=sys.stderr)
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.rename(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
