"""The letters of Cyrus's imapd and pop3d, for who starts these programs by themselves: from inetd, over ssh.

-C, -N, -p and -q are settings by another name, and count wherever they stand.  -D, -H and -s are done to the
connection, and so only where no listener of ours has it: there -haproxy and the TLS port do the same.
"""
from __future__ import annotations

import os
import socket

from courierpy.model.replies import Bye
from courierpy.system import log
from courierpy.system.conn import Gone
from courierpy.system.programs import FILE, LAYER, SWITCHES
from courierpy.system.settings import Settings
from courierpy.system.startup import with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from courierpy.system.conn import Conn

    class Program(Protocol):
        """As entering.py has it."""

        program: str
        conn: Conn
        environ: Mapping[str, str]
        settings: Settings
        came_from: tuple[str, str]
        is_proxied: bool

DEBUGGER, PROXY, PASSWORD, QUOTA, TLS = SWITCHES
PROTECTED = 2                  # strength of a layer (SSF) from which on nobody reads along
SECONDS = 30.0                 # for the header of a proxy, and for the handshake of TLS


def applied(said: Mapping[str, list[str]], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as these letters have it: letter -> its values.  Raises SettingsError."""
    found = with_files(said[FILE], environ) if FILE in said else dict(environ)
    if LAYER in said and int(said[LAYER][-1]) >= PROTECTED:
        found["IMAP_TLS"] = found["POP3_TLS"] = "1"
    if QUOTA in said:
        found["IMAP_IGNORE_QUOTA"] = "1"
    if PASSWORD in said:
        found["IMAP_PREAUTH_LOGIN"] = "1"
    return found


def begin(said: Mapping[str, list[str]], daemon: Program) -> None:
    """What is due before the first word to the client.  Raises Bye and Gone."""
    if DEBUGGER in said:
        _debug(daemon)
    if PROXY in said:
        _come_by_proxy(daemon)
    if PASSWORD in said and not _is_near(daemon):
        raise Bye("-N: whoever is not on this host needs a password.", status=os.EX_USAGE)
    if TLS in said:
        _secure(daemon)


def _debug(daemon: Program) -> None:
    """DEBUG_COMMAND, in which %s is the program and %d its pid.  It goes on beside this process; its output
    goes to the log."""
    import shlex
    text = daemon.settings.text("DEBUG_COMMAND")
    try:
        words = [word.replace("%s", daemon.program).replace("%d", str(os.getpid()))
                 for word in shlex.split(text)]
        if words:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            said = null if log.form() == "syslog" else 2           # else the client would read it
            try:
                os.posix_spawnp(words[0], words, dict(os.environ), file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, said, 1),
                    (os.POSIX_SPAWN_DUP2, said, 2)])
            finally:
                os.close(null)
        else:
            log.warn("-D: DEBUG_COMMAND names no program")
    except (OSError, ValueError) as error:
        log.err(f"DEBUG_COMMAND: {getattr(error, 'strerror', None) or error}")


def _come_by_proxy(daemon: Program) -> None:
    """The header of a proxy says who the client is; where it says nothing, the proxy itself."""
    from courierpy.system import haproxy
    try:
        with socket.socket(fileno=os.dup(daemon.conn.infd)) as client:
            ends = haproxy.read_header(client, SECONDS)
    except (haproxy.ProxyError, OSError) as error:
        log.err(f"-H: {getattr(error, 'strerror', None) or error}")
        raise Gone from None
    if ends is not None:
        daemon.came_from, daemon.is_proxied = (ends.remote[0], str(ends.remote[1])), True


def _is_near(daemon: Program) -> bool:
    """Is the client on this host?"""
    from courierpy.auth.mechanisms import is_here
    if daemon.is_proxied:
        return is_here(daemon.came_from[0])
    try:
        with socket.socket(fileno=os.dup(daemon.conn.infd)) as client:
            if client.family == socket.AF_UNIX:
                return True
            address = str(client.getpeername()[0])
    except OSError:
        return True                    # a pipe or a terminal
    return is_here(address)


def _secure(daemon: Program) -> None:
    from courierpy.system import tls
    try:
        local = ""
        with socket.socket(fileno=os.dup(daemon.conn.infd)) as client:
            if client.family != socket.AF_UNIX:
                local = str(client.getsockname()[0])
        found = tls.handshake(daemon.conn, tls.certificates(daemon.settings), local, SECONDS)
    except (tls.TlsError, OSError) as error:
        log.err(f"-s: {getattr(error, 'strerror', None) or error}")
        raise Gone from None
    daemon.environ = {**daemon.environ, **found}
    daemon.settings = Settings(daemon.environ)
