"""courierpy authtest USER [PASSWORD [NEW]] [MODULE...]: what each module says of a user and a password.

The modules are asked one by one, as at a login; the first that accepts decides.  Nothing
that is shown tells a password or a hash.  With a NEW password the module that accepted the one before gives
the account that one, where it can.
"""
from __future__ import annotations

import argparse
import os
from importlib import import_module
from itertools import takewhile

from courierpy.admin import complain, default_files, read_settings
from courierpy.admin.secrets import NoPassword, ask, checked
from courierpy.auth import (
    NAMES,
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    check,
    configured,
    sound,
    with_domain,
)
from courierpy.maildir import layout
from courierpy.maildir.errors import StoreError
from courierpy.system.settings import Settings

PASSWORDS = 2                      # the one that is, and a new one
ACCEPTED, REFUSED, UNKNOWN = 0, 1, 3       # exit status; 3: a module cannot tell


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy authtest", description=__doc__.partition("\n")[0])
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("-s", dest="service", default="imap", help="default: imap")
    parser.add_argument("-n", dest="exists", action="store_true", help="no password: is there such a user?")
    parser.add_argument("user", metavar="USER")
    parser.add_argument("words", nargs="*", metavar="WORD",
                        help=f"modules, of {' '.join(NAMES)}; default: AUTHMODULES. Before them, as Courier "
                        "has it, the password, which is asked for else, and a new one")
    options = parser.parse_args(words)
    passwords = [*takewhile(lambda word: not word.startswith("auth"), options.words)]
    if len(passwords) > PASSWORDS or passwords and options.exists:
        parser.error("one password, or two, were expected")
    named = options.words[len(passwords):]
    values = read_settings(options.files or default_files())
    settings = Settings(values)
    modules = named or configured(values)
    user = with_domain(options.user, values)
    try:
        given = [*map(checked, passwords)]
        password = given[0] if given else "" if options.exists else ask(user)
    except NoPassword as error:
        complain(f"{user}: {error}")
        return 2
    if user != options.user:
        print(f"user: {user}  (DEFDOMAIN)")
    decided = None
    for name in modules:
        request = Request("pre" if options.exists else "login", options.service, values, user=user,
                          password=password)
        status, text, account = _ask(name, request)
        print(f"{name}: {text}")
        if account is not None:
            for line in _facts(account, settings):
                print(f"  {line}")
            if passwords[1:]:
                return _change(name, request, passwords[1])
        if decided is None and status != REFUSED:
            decided = status           # at a login no other module is asked
            if len(modules) > 1 and name != modules[-1]:
                print("  (here a login ends; those below are asked only now)")
    return REFUSED if decided is None else decided


def _ask(name: str, request: Request) -> tuple[int, str, Account | None]:
    """(status, what is told of it, the account that it gave)."""
    wrong = sound.wrong([name], request.environ)
    if wrong:
        return UNKNOWN, f"cannot be asked: {wrong[0]}", None
    try:
        account = check([name], request)
    except Unservable as error:
        return REFUSED, f"the password is right, but the account cannot be served: {error}", None
    except Rejected:
        if request.kind == "login" and _exists(name, request):
            return REFUSED, "wrong password", None
        odd = sound.odd([name], request.environ)
        return REFUSED, f"no such user ({odd[0]})" if odd else "no such user" + (
            "" if request.kind == "pre" else ", or a wrong password"), None
    except TemporaryFailure as error:
        return UNKNOWN, f"cannot tell: {error}: a login would be answered BYE", None
    return ACCEPTED, "accepted", account


def _change(name: str, request: Request, password: str) -> int:
    """Another password for who was accepted; the exit status."""
    change = getattr(import_module(f"courierpy.auth.{name}"), "change", None)
    if change is None:
        complain(f"{name}: passwords are not changed through it: where its accounts are that is done")
        return UNKNOWN
    from passlib.hash import sha512_crypt
    try:
        change(request, password, sha512_crypt.hash(password))
    except TemporaryFailure as error:
        complain(str(error))
        return UNKNOWN
    print(f"{name}: the password is changed")
    return ACCEPTED


def _exists(name: str, request: Request) -> bool:
    """Does the module know the user at all?"""
    try:
        check([name], Request("pre", request.service, request.environ, user=request.user))
    except (Rejected, TemporaryFailure):
        return False
    return True


def _facts(account: Account, settings: Settings) -> list[str]:
    """What a login would do with the account, and what of that would fail."""
    found = [f"{key}: {value}" for key, value in (
        ("address", account.address), ("uid", account.uid), ("gid", account.gid), ("home", account.home),
        ("Maildir", account.maildir), ("quota", account.quota), ("options", account.options)) if value != ""]
    if account.uid == 0:
        found.append("but: root's mail is never served")
    elif os.geteuid() not in (0, account.uid):
        found.append(f"but: only root can become uid {account.uid}")
    if not os.path.isdir(account.home):
        found.append(f"but: the home directory {account.home} is not there")
        return found
    maildir = os.path.join(account.home, account.maildir or settings.text("MAILDIRPATH"))
    try:
        there = os.path.isdir(maildir) and layout.find(maildir, settings.text("IMAP_LAYOUT").lower(),
                                                       account.home).is_there()
    except StoreError as error:
        found.append(f"but: {error}")
        return found
    if not there:
        found.append(f"but: there is no Maildir at {maildir}: courierpy maildirmake {maildir}")
    else:
        owner = os.stat(maildir)
        if owner.st_uid != account.uid:
            found.append(f"but: {maildir} belongs to uid {owner.st_uid}")
    return found
