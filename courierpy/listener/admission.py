"""Whether a connection may come in: proxies in front, access rules, limits, DNS lists."""
from __future__ import annotations

import socket

from courierpy.listener import access
from courierpy.listener.sockets import shown
from courierpy.model import measures
from courierpy.model.numbers import decimal
from courierpy.system import log, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from courierpy.listener.options import Options

    Address = tuple[str, int]


class Refused(Exception):
    """``spoken``: the client is told -denymsg."""

    def __init__(self, spoken: bool = False) -> None:
        self.spoken = spoken


class Counts:
    """Connections by address and, if they are limited, by network."""

    def __init__(self, networks: bool) -> None:
        self.of: dict[str, int] = {}
        self.networks = networks

    def add(self, address: str, change: int) -> None:
        for key in (address, network(address)) if self.networks else (address,):
            count = self.of.get(key, 0) + change
            if count > 0:
                self.of[key] = count
            else:
                self.of.pop(key, None)


def network(address: str) -> str:
    """The address without its last octet (IPv6: its last byte), with a mark that it is one."""
    if "." in address:
        return address.rpartition(".")[0] + "/"
    import ipaddress
    return ipaddress.ip_address(address).exploded[:-2] + "/"


def speaks_proxy(ports: frozenset[str], local: Address) -> bool:
    """Do clients at this end of ours come through a proxy?  ``ports``: of -haproxy, none: all do."""
    return not ports or str(local[1]) in ports or f"{local[0]}.{local[1]}" in ports


def behind_proxy(client: socket.socket, wanted: tuple[float, frozenset[str]], remote: Address,
                 local: Address) -> tuple[Address, Address, str]:
    """(remote, local, what TCPREMOTEINFO says), as the proxy's header has them.  Refused."""
    from courierpy.system import haproxy
    timeout, ports = wanted
    if not speaks_proxy(ports, local):
        return remote, local, ""
    try:
        ends = haproxy.read_header(client, timeout)
    except haproxy.ProxyError as error:
        log.warn(f"{shown(remote[0])}: {error}")
        _count("proxy header")
        raise Refused from None
    if ends is None:
        return remote, local, ""
    return ends.remote, ends.local, f"proxy via {shown(local[0])}, port {local[1]}"


def admit(options: Options, rules: Mapping[str, str], counts: Mapping[str, int], address: str,
          environ: MutableMapping[str, str]) -> None:
    """Rules and bounds.  Raises Refused; sets the variables of the rule that lets it in."""
    if rules:
        if "accesslocal" in options.switches:
            allowed, _ = access.decide(rules, environ["TCPLOCALIP"], environ["TCPLOCALPORT"])
            if not allowed:
                _count("access")
                raise Refused
        allowed, variables = access.decide(rules, address)
        if not allowed:
            _count("access")
            raise Refused(spoken=True)
        environ.update(variables)
    limit = decimal(environ.get("MAXCPERIP", ""))
    if counts.get(address, 0) >= (options.number.get("maxperip", 4) if limit is None else limit):
        log.alert(f"Maximum connection limit reached for {address}")
        _count("limit of address")
        raise Refused
    maxperc = options.number.get("maxperc")                # by default as many as there can be
    if maxperc is not None and counts.get(network(address), 0) >= maxperc:
        _count("limit of network")
        raise Refused


def _count(reason: str) -> None:
    metrics.count(measures.REFUSED, reason)


def denial(options: Options) -> bytes:
    """What a client hears that may not come in: -denymsg, b"" without it."""
    text = options.text.get("denymsg")
    return text.encode() + b"\n" if text else b""


def drop(options: Options, address: str, environ: Mapping[str, str]) -> None:
    """Raises Refused where a rule or a list has set a variable of -drop."""
    if any(environ.get(name) for name in options.drop):
        log.warn(f"dropped blocked connection from {address}")
        _count("list")
        raise Refused(spoken=True)


def names(environ: MutableMapping[str, str]) -> None:
    """Names of both ends, confirmed forward; ``softdnserr`` when that fails."""
    for variable, address in (("TCPREMOTEHOST", environ["TCPREMOTEIP"]),
                              ("TCPLOCALHOST", environ["TCPLOCALIP"])):
        plain = address.removeprefix("::ffff:")
        try:
            name = socket.gethostbyaddr(plain)[0]
        except (socket.herror, socket.gaierror):
            continue
        try:
            found = {entry[4][0] for entry in socket.getaddrinfo(name, None)}
        except socket.gaierror:
            found = set()
        environ[variable] = name if plain in found else "softdnserr"
