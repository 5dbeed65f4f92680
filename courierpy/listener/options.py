"""The command line of couriertcpd taken apart."""
from __future__ import annotations

import socket

from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.listener.dnslists import DnsList

TEXT_OPTIONS = {"access", "address", "denymsg", "group", "user", "pid", "stderr", "stderrlogger",
                "stderrloggername"}
NUMBER_OPTIONS = {"listen", "maxprocs", "maxperip", "maxperc", "warn"}
SWITCHES = {"accesslocal", "nodnslookup", "noidentlookup", "proxy", "restart", "stop", "exec", "tls"}

MOST_SECONDS = 10 ** 6         # that the header of a proxy may take

USAGE = """
Usage: couriertcpd [OPTION...] PORTS PROGRAM [ARGUMENT...]
       couriertcpd -pid=FILE -stop
       couriertcpd -pid=FILE -restart

Listen on PORTS, a comma list of port or address.port, and start PROGRAM for each
connection, which is its standard input and output.

  -access=FILE           rules by address: a text, a directory of texts, or a .dat
  -accesslocal           rules for the local address first
  -address=IP            the address where PORTS name none
  -allow=ZONE -block=ZONE -drop[=VAR,...]   DNS lists
  -denymsg=TEXT          sent to a client that is refused
  -exec                  start our own programs by exec, too
  -group=GROUP -user=USER   who the listener is once it listens
  -haproxy[=SECONDS][/PORT,...]   the PROXY protocol, versions 1 and 2
  -maxprocs=N            connections at a time (40)
  -maxperip=N            of one address (4)
  -maxperc=N             of one network
  -warn=N                a line in the log from so many on
  -nodnslookup           no names of addresses
  -pid=FILE              run as a daemon; with -stop end it, with -restart reload it
  -stderr=socket|FILE -stderrlogger=PROGRAM -stderrloggername=NAME   where the log goes
  -tls                   TLS from the first octet
  -noidentlookup -listen=N -proxy   accepted
  -h, --help             tell this
  -V, --version          tell the version

"courierpy serve" starts the listeners as the settings say.
"""


class UsageError(Exception):
    """A word of the command line; str() is the complaint."""


class Options:
    """``rest``: the words behind the options."""

    def __init__(self, words: list[str]) -> None:
        self.text: dict[str, str] = {}
        self.number: dict[str, int] = {}
        self.switches: set[str] = set()
        self.lists: list[DnsList] = []
        self.drop: list[str] = []
        self.haproxy: tuple[float, frozenset[str]] | None = None
        rest = list(words)
        while rest and rest[0].startswith("-"):
            word = rest.pop(0)
            if word == "-":
                break
            self._option(word)
        self.rest = rest

    def _option(self, word: str) -> None:
        name, equals, value = word[1:].partition("=")
        if name in TEXT_OPTIONS and equals:
            self.text[name] = value
        elif name in NUMBER_OPTIONS and (number := decimal(value)):
            self.number[name] = number
        elif name in SWITCHES and not equals:
            self.switches.add(name)
        elif name in ("block", "allow") and value:
            from courierpy.listener.dnslists import DnsList
            self.lists.append(DnsList(value, name == "allow"))
        elif name == "drop":
            self.drop = value.split(",") if value else ["BLOCK"]
        elif name == "haproxy":
            self.haproxy = _haproxy(value)
        else:
            raise UsageError(f"Invalid option: {word}; couriertcpd --help tells what there is")


def _haproxy(value: str) -> tuple[float, frozenset[str]]:
    """``15/143,127.0.0.1.993`` -> (seconds, ports as admission.speaks_proxy has them).  Raises UsageError."""
    timeout, _, ports = value.partition("/")
    try:
        seconds = float(timeout or 15)
    except ValueError:
        seconds = -1
    if not 0 < seconds <= MOST_SECONDS:            # nor is "nan"; in 0 seconds no header comes
        raise UsageError(f"-haproxy=SECONDS is expected, more than 0, not {timeout}")
    named = ",".join(filter(None, ports.removeprefix("port=").split(",")))
    try:
        found = parse_ports(named, None) if named else []
    except UsageError as error:
        raise UsageError(f"-haproxy={value}: {error}") from None
    return seconds, frozenset(f"{address}.{port}" if address else str(port) for address, port in found)


def parse_ports(text: str, default: str | None) -> list[tuple[str, int]]:
    """``143,127.0.0.1.993`` -> (address or "", port).  Raises UsageError."""
    found = []
    for part in text.split(","):
        address, _, port = part.strip().rpartition(".")
        address = address or default or ""
        try:
            number = decimal(port)
            number = socket.getservbyname(port, "tcp") if number is None else number
        except OSError:
            raise UsageError(f"no such service: {port}; a port from 1 to 65535, or a name of /etc/services, "
                             "was expected") from None
        if not 0 < number < 65536:
            raise UsageError(f"bad port: {port!r}; one from 1 to 65535 was expected")
        found.append(("" if address == "0" else address, number))
    return found
