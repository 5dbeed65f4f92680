"""Can the modules do their work?  Asked before the listener listens, and by ``courierpy config``.

What is missing is found by loading it, so the listener asks in a process beside itself.
"""
from __future__ import annotations

import importlib
import os
import socket

from courierpy.auth import NAMES, TemporaryFailure, authdaemon, authpipe, mechanisms, rcfile, token
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# module -> (what it imports when it is asked, the distribution that has it)
LIBRARIES = {"authpam": ("pam", "python-pam"), "authuserdb": ("passlib.hash", "passlib"),
             "authpwd": ("passlib.hash", "passlib"), "authshadow": ("passlib.hash", "passlib"),
             "authldap": ("ldap3", "ldap3"), "authpgsql": ("psycopg", "psycopg"),
             "authmysql": ("pymysql", "PyMySQL")}


def wrong(modules: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """A line for each module that can let nobody in: unknown, a library or a function is missing."""
    found = []
    for name in modules:
        if name not in NAMES:
            found.append(f"no such auth module: {name}; there are {' '.join(NAMES)}")
        elif name == "authcustom":
            found += _custom(environ.get("AUTHCUSTOM", ""))
        elif name in LIBRARIES:
            library, distribution = LIBRARIES[name]
            try:
                importlib.import_module(library)
            except ImportError as error:
                found.append(f"{name}: {distribution} is not installed ({error})")
    return found


def tokens_wrong(values: Mapping[str, str]) -> list[str]:
    """A line for what keeps all access tokens out, where they are configured."""
    settings = Settings(values)
    found: list[str] = []
    if not mechanisms.takes_tokens(settings):
        return found
    path, url = settings.text("OAUTH_KEYFILE"), settings.text("OAUTH_INTROSPECTION_URL")
    try:
        if path:
            importlib.import_module("joserfc.jwt")
            token.keys(path)
    except ImportError as error:
        found.append(f"OAUTH_KEYFILE: joserfc is not installed ({error})")
    except TemporaryFailure as error:
        found.append(str(error))
    if path and not token.algorithms(settings):
        found.append("OAUTH_ALGORITHMS names no algorithm that signs")
    if url and url.partition("://")[0].lower() not in ("http", "https"):
        found.append("OAUTH_INTROSPECTION_URL: http://... or https://... is expected")
    if path and not settings.text("OAUTH_AUDIENCE"):
        found.append("OAUTH_AUDIENCE is not set: only tokens that are for nobody in particular are taken")
    return found


def _custom(name: str) -> list[str]:
    module, colon, function = name.partition(":")
    if not colon:
        return ["authcustom: AUTHCUSTOM must be module:function"]
    try:
        if callable(getattr(importlib.import_module(module), function, None)):
            return []
    except Exception as error:         # the administrator's code
        return [f"authcustom: AUTHCUSTOM {name}: {type(error).__name__}: {error}"]
    return [f"authcustom: AUTHCUSTOM {name}: there is no such function"]


def odd(modules: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """A line for each module that lets nobody in as long as something outside is as it is."""
    found = []
    for name in modules:
        if name == "authuserdb":
            path = environ.get("USERDB") or "/etc/courier/userdb"
            why = _userdb(path)
            if why:
                found.append(f"authuserdb: {path} {why}")
        elif name in rcfile.FILES:
            try:
                rcfile.words(rcfile.path_of(name, environ))
            except TemporaryFailure as error:
                found.append(f"{name}: {error}: nobody can log in; {rcfile.FILES[name][0]} names another")
        elif name == "authpipe":
            path = environ.get("AUTHPIPE") or authpipe.DEFAULT
            why = _program(path)
            if why:
                found.append(f"authpipe: {path} {why}: nobody of it can log in; AUTHPIPE must name a program")
        elif name == "authdaemon":
            path = environ.get("AUTHDAEMON_SOCKET") or authdaemon.DEFAULT
            why = _daemon(path)
            if why:
                found.append(f"authdaemon: {path}: {why}: nobody can log in until authdaemond listens there; "
                             "AUTHDAEMON_SOCKET names another")
    return found


def _program(path: str) -> str:
    """Why this is no program that can be started; "" where it is one."""
    if not os.path.exists(path):
        return "is not there"
    return "" if os.path.isfile(path) and os.access(path, os.X_OK) else "is not executable"


def _daemon(path: str) -> str:
    """Why nobody answers on this socket; "" where somebody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)                  # who is busy now listens too
        try:
            client.connect(path)
        except BlockingIOError:
            pass
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _userdb(path: str) -> str:
    """Why nobody of this file, or directory of files, can log in; "" where nothing hinders it."""
    if not os.path.exists(path):
        return "is not there: it knows nobody; courierpy user add makes it"
    if not os.access(path, os.R_OK):
        return f"cannot be read by uid {os.geteuid()}: nobody of it can log in; chown it"
    if os.path.isfile(path):
        if os.path.islink(path):
            return "is a symbolic link: nobody of it can log in; USERDB must name the file itself"
        if os.stat(path).st_mode & 0o077:
            return f"can be read or written by others: nobody of it can log in; chmod 0600 {path}"
    return ""
