"""A URL is told: one POST to a host that the administrator allows, by a certificate that is good.

No other host is gone to than the URL's, whatever it answers: no redirection is followed and no proxy used.
Its name may lead to an address that nothing here is to talk to (this host, the networks behind it), so the
addresses are looked at, and those that were looked at are connected to.
"""
from __future__ import annotations

import socket
import time

from courierpy.newmail.errors import Later, Refused
from courierpy.system import tlsclient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.settings import Settings



def post(url: str, body: bytes, kind: str, headers: Mapping[str, str], settings: Settings) -> int:
    """The status of the answer, within NOTIFYD_TIMEOUT seconds.  ``kind``: media type of the body.  Raises
    Later where there is none, Refused for a URL that cannot be gone to."""
    import http.client
    from urllib.parse import urlsplit
    end = time.monotonic() + settings.number("NOTIFYD_TIMEOUT")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused(f"{url}: {error}") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise Refused(f"{url}: https://HOST/PATH was expected")
    secure = parts.scheme == "https"
    try:
        sock = _connect(host, port or (443 if secure else 80), secure, end, settings)
        try:
            if secure:
                context = tlsclient.context(settings.text("NOTIFYD_TRUSTCERTS"))
                sock = context.wrap_socket(sock, server_hostname=host)
            connection = http.client.HTTPConnection(f"[{host}]" if ":" in host else host, port)
            connection.sock = sock
            sock.settimeout(_left(end))
            path = parts.path or "/"
            connection.request("POST", path + (f"?{parts.query}" if parts.query else ""), body,
                               {"Content-Type": kind, "User-Agent": "courierpy-notifyd",
                                "Connection": "close", **headers})
            return connection.getresponse().status     # what is said behind it changes nothing
        finally:
            sock.close()
    except (OSError, ValueError, http.client.HTTPException) as error:      # SSLError is an OSError
        why = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        raise Later(f"{host}: {why or type(error).__name__}") from None


def _left(end: float) -> float:
    return max(0.05, end - time.monotonic())


def _connect(host: str, port: int, secure: bool, end: float, settings: Settings) -> socket.socket:
    """OSError, Later, Refused."""
    allowed = networks(settings.text("NOTIFYD_NETWORKS"))
    failure: OSError | None = None
    seen = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, _, _, _, address in seen:
        if not may_go(str(address[0]), secure, allowed):
            continue
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left(end))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    if failure is not None:
        raise failure
    raise Later(f"{host}: leads to no address that NOTIFYD_NETWORKS allows"
                + ("" if secure else "; http: needs one in it"))


def networks(text: str) -> list[object]:
    """Of NOTIFYD_NETWORKS.  Raises Refused."""
    import ipaddress
    try:
        return [ipaddress.ip_network(word, strict=False) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise Refused(f"NOTIFYD_NETWORKS: {error}") from None


def may_go(address: str, secure: bool, allowed: list[object]) -> bool:
    """Where a list is given: is the address in it?  Else: is it a public one, and gone to by TLS?"""
    import ipaddress
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    if allowed:
        return any(found in network for network in allowed)  # type: ignore[operator]
    return secure and found.is_global and not found.is_multicast
