"""courierpy authpasswd [TYPE]: the hash of a password, as Courier's.

The password is typed twice, or is two lines of standard input.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import os
import sys

from courierpy.admin import complain
from courierpy.admin.secrets import NoPassword, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _crypt(password: str) -> str:
    import passlib.hash
    return str(passlib.hash.md5_crypt.hash(password))


def _salted(password: str) -> str:
    salt = os.urandom(4)
    return "{SSHA}" + _base64(hashlib.sha1(password.encode() + salt).digest() + salt)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


TYPES: dict[str, Callable[[str], str]] = {
    "": _crypt, "ssha": _salted,
    "md5": lambda password: "{MD5}" + _base64(hashlib.md5(password.encode()).digest()),
    "md5raw": lambda password: "{MD5RAW}" + hashlib.md5(password.encode()).hexdigest(),
    "sha": lambda password: "{SHA}" + _base64(hashlib.sha1(password.encode()).digest()),
    "sha256": lambda password: "{SHA256}" + _base64(hashlib.sha256(password.encode()).digest()),
    "sha512": lambda password: "{SHA512}" + _base64(hashlib.sha512(password.encode()).digest()),
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy authpasswd", description=__doc__)
    parser.add_argument("type", nargs="?", default="", choices=TYPES, metavar="TYPE",
                        help=f"{', '.join(filter(None, TYPES))}; else the crypt(3) of MD5")
    try:
        chosen = parser.parse_args(words)
    except SystemExit as end:
        return 1 if end.code else 0
    try:
        password = ask("the account", twice=True)
        if not sys.stdin.isatty() and ask("the account") != password:
            raise NoPassword("the two are not the same: try again")
    except NoPassword as error:
        complain(str(error))
        return 1
    print(TYPES[chosen.type](password))
    return 0
