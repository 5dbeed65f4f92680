"""Who is at the other end, and may it deliver?

A program of this host at a unix socket is known by what the kernel says of it (SO_PEERCRED): root, our own
user and a group may deliver.  Who comes over the network shows a password first, unless the administrator
has said that whoever comes may (-a).  What is no socket was started by who may do all that we may.
"""
from __future__ import annotations

import os
import socket
import stat
import struct

from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.settings import Settings

_CREDENTIALS = struct.Struct("iII")        # pid, uid, gid: unix(7)


class Peer:
    """``address``: in the network, "" for a program of this host.  ``who``: for the log."""

    __slots__ = ("address", "trusted", "who")

    def __init__(self, trusted: bool, who: str, address: str = "") -> None:
        self.trusted = trusted
        self.who = who
        self.address = address


def of(fd: int, settings: Settings, environ: Mapping[str, str], any_network: bool) -> Peer:
    """The peer of the descriptor.  ``any_network``: -a."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return Peer(True, "")
        with socket.socket(fileno=os.dup(fd)) as end:
            if end.family == socket.AF_UNIX:
                return _program(end, settings)
            found = end.getpeername()
    except OSError:
        return Peer(False, log.who("", ""))
    address = environ.get("TCPREMOTEIP") or str(found[0])
    port = environ.get("TCPREMOTEPORT") or str(found[1])
    return Peer(any_network, log.who(address, port), address.removeprefix("::ffff:"))


def _program(end: socket.socket, settings: Settings) -> Peer:
    said = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(said)
    trusted = uid in (0, os.geteuid()) or _is_of_group(uid, gid, settings.text("LMTP_GROUP"))
    return Peer(trusted, f"uid={uid}, gid={gid}")


def _is_of_group(uid: int, gid: int, name: str) -> bool:
    if not name:
        return False
    import grp
    import pwd
    try:
        group = grp.getgrnam(name)
        return gid == group.gr_gid or pwd.getpwuid(uid).pw_name in group.gr_mem
    except KeyError:
        return False
