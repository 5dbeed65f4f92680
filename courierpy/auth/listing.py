"""The names of all accounts, as far as the modules can tell them: for tools that work on all mail."""
from __future__ import annotations

import importlib
import socket

from courierpy.auth import Rejected, TemporaryFailure, authdaemon, rcfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_UID, LAST_UID = 1000, 59999      # of people, where login.defs says nothing else
LOGIN_DEFS = "/etc/login.defs"
MOST_OCTETS = 1 << 28                  # of an answer of authdaemond


def names(modules: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Of these modules, in order, each once.  Raises TemporaryFailure where one cannot tell, or has no list
    of its accounts: who works on all must not pass any over in silence."""
    found: dict[str, None] = {}
    for module in modules:
        if module == "authuserdb":
            found.update(dict.fromkeys(_userdb(environ)))
        elif module in ("authpwd", "authshadow", "authpam"):
            found.update(dict.fromkeys(_people()))
        elif module == "authdaemon":
            found.update(dict.fromkeys(_authdaemon(environ)))
        elif module in rcfile.FILES:
            backend = importlib.import_module(f"courierpy.auth.{module}")
            found.update((account.address, None) for account in backend.accounts(environ))
        else:
            raise TemporaryFailure(f"{module} has no list of its accounts: name them with -u")
    return list(found)


def _userdb(environ: Mapping[str, str]) -> list[str]:
    from courierpy.auth import authuserdb
    path = environ.get("USERDB") or authuserdb.DEFAULT
    try:
        return list(authuserdb.read(path))
    except Rejected:
        if path != authuserdb.DEFAULT:
            raise TemporaryFailure(f"{path}: it is not there") from None
        return []                      # the default one is of nobody


def _people() -> list[str]:
    """System accounts of people; not daemons, and not root."""
    import pwd
    first, last = FIRST_UID, LAST_UID
    try:
        with open(LOGIN_DEFS, encoding="utf-8", errors="replace") as file:
            said = dict(line.split()[:2] for line in file if line.startswith(("UID_MIN", "UID_MAX"))
                        and len(line.split()) > 1)
        first, last = int(said.get("UID_MIN", first)), int(said.get("UID_MAX", last))
    except (OSError, ValueError):
        pass
    return [entry.pw_name for entry in pwd.getpwall() if first <= entry.pw_uid <= last]


def _authdaemon(environ: Mapping[str, str]) -> list[str]:
    """By authdaemond's ENUMERATE: a line for each account, and one of a dot at the end."""
    path = environ.get("AUTHDAEMON_SOCKET") or authdaemon.DEFAULT
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(authdaemon.OWN_TIMEOUT)
            client.connect(path)
            client.sendall(b"ENUMERATE\n")
            while piece := client.recv(65536):
                data += piece
                if len(data) > MOST_OCTETS:
                    raise TemporaryFailure(f"{path}: its list of accounts does not end")
    except OSError as error:
        raise TemporaryFailure(f"{path}: {error.strerror or error}") from None
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if "." not in lines:
        raise TemporaryFailure(f"{path}: its list of accounts is not whole")
    return [line.partition("\t")[0] for line in lines[:lines.index(".")] if "\t" in line]
