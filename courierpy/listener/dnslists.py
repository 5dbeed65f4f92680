"""DNS lists of ``-block`` and ``-allow`` (extra ``dns``: dnspython)."""
from __future__ import annotations

from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping


class DnsList:
    """``zone[=display][,variable[/address][,message]]``"""

    __slots__ = ("address", "allow", "display", "message", "variable", "zone")

    def __init__(self, text: str, allow: bool) -> None:
        zone, _, rest = text.partition(",")
        self.zone, _, display = zone.partition("=")
        self.display = display or self.zone
        variable, _, self.message = rest.partition(",")
        name, _, self.address = variable.partition("/")
        self.variable = name or "BLOCK"
        self.allow = allow


def query_name(address: str, zone: str) -> str:
    """d.c.b.a.zone, or the nibbles of an IPv6 address."""
    import ipaddress
    pointer = ipaddress.ip_address(address.removeprefix("::ffff:")).reverse_pointer
    return pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa") + "." + zone


def apply(lists: list[DnsList], address: str, environ: MutableMapping[str, str]) -> None:
    """Ask each list in order; set its variables when the address is on it."""
    for number, entry in enumerate(lists):
        if entry.variable in environ:
            continue
        addresses, text = _ask(query_name(address, entry.zone))
        if not addresses or (entry.address and entry.address not in addresses):
            continue
        if entry.allow:
            environ[entry.variable] = ""
            environ[f"ALLOW_{number}"] = entry.variable
        elif entry.message == "*":
            environ[entry.variable] = text
        elif entry.message:
            environ[entry.variable] = entry.message.replace("@", address, 1)
        else:
            environ[entry.variable] = f"Blacklisted by {entry.display}"
        environ[f"{entry.variable}_IP"] = addresses[0]
        environ[f"{entry.variable}_ZONE"] = entry.display
        if text:
            environ[f"{entry.variable}_TXT"] = text


def _ask(name: str) -> tuple[list[str], str]:
    try:
        import dns.exception
        import dns.resolver
    except ImportError:
        log.err("DNS lists need dnspython, which is not installed")
        return [], ""
    try:
        found = [record.to_text() for record in dns.resolver.resolve(name, "A", lifetime=10)]
    except dns.exception.DNSException:
        return [], ""
    try:
        answer = dns.resolver.resolve(name, "TXT", lifetime=10)
        text = " ".join(record.to_text().strip('"') for record in answer)
    except dns.exception.DNSException:
        text = ""
    return found, text
