"""Where things lie in the folder of a test server, and whose they are."""
from __future__ import annotations

import os
import re

HOST = "127.0.0.1"             # localhost may be ::1 first, and no name has to be looked up
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,200}", re.ASCII)


def settings_file(folder: str) -> str:
    """Settings, as etc/imapd has them."""
    return os.path.join(folder, "imapd")


def userdb(folder: str) -> str:
    """All accounts, one a line."""
    return os.path.join(folder, "userdb")


def certificate(folder: str) -> str:
    """Of the server, with its key."""
    return os.path.join(folder, "imapd.pem")


def lmtp(folder: str) -> str:
    """The socket of LMTP."""
    return os.path.join(folder, "lmtp")


def log(folder: str) -> str:
    """What all processes of the server log."""
    return os.path.join(folder, "log")


def spool(folder: str) -> str:
    """A new name for the octets of a message on their way."""
    return os.path.join(folder, f"spool-{os.urandom(8).hex()}")


def home_of(folder: str, name: str) -> str | None:
    """The home directory of an account, there or not; None for what can be no account's name."""
    return os.path.join(folder, "home", name) if _NAME.fullmatch(name) else None


def maildir_of(folder: str, name: str) -> str | None:
    """As ``home_of``."""
    home = home_of(folder, name)
    return home and os.path.join(home, "Maildir")


def owner() -> tuple[int, int] | None:
    """uid and gid of the mail; None: they are our own.  A login never serves what is root's."""
    if os.geteuid() != 0:
        return None
    import pwd
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid
