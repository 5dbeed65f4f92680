"""Passwords that an administrator gives: on the terminal, or as a line of standard input, never as a
word of the command line, which every user of the host can read."""
from __future__ import annotations

import sys

MAX_OCTETS = 1024                  # of a password; LOGIN takes no longer line either


class NoPassword(Exception):
    """None was given that can be one; str() says why."""


def ask(user: str, twice: bool = False) -> str:
    """The password for ``user``; ``twice``: on a terminal it is asked again, as nobody sees it.

    Raises NoPassword.
    """
    if sys.stdin.isatty():
        import getpass
        try:
            password = getpass.getpass(f"Password of {user}: ")
            if twice and getpass.getpass("Again: ") != password:
                raise NoPassword("the two are not the same: try again")
        except EOFError:
            raise NoPassword("no password was given") from None
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    return checked(password)


def checked(password: str) -> str:
    """The password, if a login can give it.  Raises NoPassword."""
    if not password:
        raise NoPassword("no password was given: type it, or give it as a line of standard input")
    if any(0xDC80 <= ord(char) <= 0xDCFF for char in password):
        raise NoPassword("a password in UTF-8 was expected, and this is none")
    if any(ord(char) < 32 or ord(char) == 127 for char in password):
        raise NoPassword("a password with control characters can never be given in a LOGIN")
    if len(password.encode("utf-8", "surrogateescape")) > MAX_OCTETS:
        raise NoPassword(f"a password has {MAX_OCTETS} octets at most")
    return password
