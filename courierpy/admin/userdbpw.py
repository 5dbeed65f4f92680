"""courierpy userdbpw: the hash of a password for a userdb, as Courier's.

The password is typed twice, or is a line of standard input.
"""
from __future__ import annotations

import argparse

from courierpy.admin import complain
from courierpy.admin.secrets import NoPassword, ask
from courierpy.auth import hmacstate


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy userdbpw", description=__doc__)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("-md5", dest="form", action="store_const", const="", default="",
                       help="by crypt(3), for the fields systempw and SERVICEpw (default)")
    for kind in hmacstate.KINDS:
        forms.add_argument(f"-hmac-{kind}", dest="form", action="store_const", const=kind,
                           help=f"for the field hmac-{kind}pw, by which CRAM-{kind.upper()} works")
    try:
        chosen = parser.parse_args(words)
    except SystemExit as end:
        return 1 if end.code else 0
    try:
        password = ask("the account", twice=True)
    except NoPassword as error:
        complain(str(error))
        return 1
    if chosen.form:
        print(hmacstate.states(chosen.form, password.encode()))
    else:
        import passlib.hash
        print(passlib.hash.md5_crypt.hash(password))
    return 0
