"""Who is at the other end, and may it deliver?

A program of this host at a unix socket is known by what the kernel says of it (SO_PEERCRED): root, our own
user and a group may deliver.  Who comes over the network shows a password first, unless the administrator
has said that whoever comes may (-a).  What is no socket was started by who may do all that we may.
"""
from __future__ import annotations

import os
import socket
import stat

from courierpy.system import log, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.settings import Settings

IPV6 = "IPV6:"                              # before such an address, in XCLIENT
UNIX = "unix"                              # in LMTP_XCLIENT: programs at a unix socket that may deliver


class Peer:
    """Who brings mail, and what he may.

    ``address``: in the network, "" for a program of this host.  ``who``: for the log.  ``speaks_for``: may
    it say for whom it speaks (XCLIENT)?  ``name`` and ``helo``: of that one, "" where they are not known."""

    __slots__ = ("address", "helo", "name", "speaks_for", "trusted", "who")

    def __init__(self, trusted: bool, who: str, address: str = "", *, speaks_for: bool = False,
                 name: str = "", helo: str = "") -> None:
        self.trusted = trusted
        self.who = who
        self.address = address
        self.speaks_for = speaks_for
        self.name = name
        self.helo = helo

    def instead(self, said: Mapping[str, str]) -> Peer:
        """The one for whom it speaks, by the attributes of XCLIENT; it may do what the peer may.  Raises
        ValueError for what is no address."""
        import ipaddress
        word = said.get("ADDR", "")
        bare = word[len(IPV6):] if word.upper().startswith(IPV6) else word
        address = str(ipaddress.ip_address(bare)) if bare else ""
        who = log.who(address, said.get("PORT", "")) if address else self.who
        return Peer(self.trusted, who, address, speaks_for=self.speaks_for, name=said.get("NAME", ""),
                    helo=said.get("HELO", ""))


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
    address = address.removeprefix("::ffff:")
    return Peer(any_network, log.who(address, port), address,
                speaks_for=_is_listed(address, settings.words("LMTP_XCLIENT")))


def _program(end: socket.socket, settings: Settings) -> Peer:
    said = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, passing.CREDENTIALS.size)
    _, uid, gid = passing.CREDENTIALS.unpack(said)
    trusted = uid in (0, os.geteuid()) or _is_of_group(uid, gid, settings.text("LMTP_GROUP"))
    return Peer(trusted, f"uid={uid}, gid={gid}",
                speaks_for=trusted and UNIX in settings.words("LMTP_XCLIENT"))


def _is_listed(address: str, listed: list[str]) -> bool:
    """Is the address, or a network that it is of, among these words?"""
    words = [word for word in listed if word != UNIX]
    if not words:
        return False
    import ipaddress
    for word in words:
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(word, strict=False):
                return True
        except ValueError:
            log.warn(f"LMTP_XCLIENT: an address, a network or {UNIX} was expected, not {log.quoted(word)}")
    return False


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
