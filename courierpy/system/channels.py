"""What couriertcpd, the login processes and the password helper say to each other.

Four channels (system/passing.py), all made by couriertcpd, so that each end knows who is at the other:

* *link*: couriertcpd and one login process.  Clients come in by it, and sessions are asked for.
* *question*: one login process and one helper, or its worker that stands at the doorway
  (auth/standing.py): what is said of the helper here goes for that too.
* *grants*: a helper and couriertcpd.
* *orders*: couriertcpd and a process of sessions.

1. couriertcpd accepts a client, and gives its descriptor to a login process (CLIENT; GREETED, where it has
   said the greeting, which is the same for all in clear but those that a rule is about).  One that comes
   through a proxy (BEHIND) is counted when that has said who it is (PROXIED; ADMITTED or DENIED).
2. The login process speaks with it, and asks the helper (a question).
3. The helper's answer is yes: it tells couriertcpd the account under a *ticket*, 16 random octets, with
   the pid of the login process whose channel the question came by (GRANT); then it tells the login
   process the ticket, and nothing else of the account but its address.
4. The login process sends ticket and descriptor to couriertcpd (START), which looks whether that ticket
   is that process's, and not too old; it counts once.  The session begins, and the login process is
   told so (STARTED), or that there is none (FAILED): until then it keeps the client.  One without TLS it
   gives away for good (GIVE), and is told nothing: who cannot be served hears so of couriertcpd.
   A plain client whose login process knows all that the session has to know comes with the question
   (ASK_FOR) already.  Then the helper's worker gives it to couriertcpd itself (GIVEN), under the pid of the
   login process and the client's number, where it has a way to do so (WAY), and says that it did (BEGUN): the
   session begins without a word of the login process.
5. A session begins in a process that waits for one of its account, or was forked ahead (an Order, with the
   descriptor), else in a fork.  When it is over the process says that it waits for the next: SOON where
   it was brief, as others may wait until such sessions are over, else DONE.  So does a session that slept
   go on, with a process that its sleep has set free, perhaps.  Where it cannot, the status of the process
   says so, and what it left is removed.  A process whose account has other groups by now gives the session
   back (OTHERS), and a fork has it: then the channel is closed, else it hears FAILED.

Where an account's mail is at another host (IMAP_PROXY) there is no session here:

4. The login process says its ticket, and which of the account's hosts it is at (CONNECT).  couriertcpd looks
   as for a session, has a process beside it connect (login/connecting.py), and gives the connection
   (CONNECTED), or says why there is none (UNREACHABLE) or why there must be none (TURNED_AWAY).
5. The login process logs in there by the client's password, and says so (CARRIES); from then on it carries
   the octets of both (STARTED), unless the user has too many sessions (TURNED_AWAY).

So a login process that somebody has taken over can have no session but of an account whose password
it was given, or, where TLS_EXTERNAL is set, whose certificate it says that it saw; and no connection but to
the host of such an account.  couriertcpd takes apart only the fixed
head of what a login process says; the rest is read by the session, which is the user by then.
"""
from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TICKET_OCTETS = 16
TICKET_SECONDS = 30.0          # that a ticket may be used
REST_OCTETS = 65536            # that a client may have said behind its login

# over the link, of couriertcpd: a letter, and what follows it
CLIENT, BEHIND, AGAIN, HELPER, STARTED, FAILED, LEAVE, ADMITTED, DENIED, CLOSE = (
    b"C", b"B", b"N", b"H", b"S", b"F", b"L", b"A", b"D", b"E")
CONNECTED, UNREACHABLE, TURNED_AWAY, GREETED = b"O", b"U", b"T", b"M"
# over the link, of a login process
READY, START, ENDED, PROXIED, CONNECT, CARRIES, GIVE = b"r", b"s", b"e", b"p", b"o", b"w", b"g"
# letter, number of the connection; CLIENT, GREETED, BEHIND, ADMITTED: variables follow
HEAD = struct.Struct("!cQ")
SAID = struct.Struct("!I")     # AGAIN: octets of the variables, those, and what the client has said
STARTS = struct.Struct(f"!cQ{TICKET_OCTETS}sI")    # START, GIVE: ..., ticket, octets of the variables; rest
ADDRESS = struct.Struct("!cQ46sH46sH")             # PROXIED: ..., remote address and port, local ones
CONNECTS = struct.Struct(f"!cQ{TICKET_OCTETS}sBf")     # CONNECT: ..., ticket, which host, seconds
# CONNECTED: of which ticket, and which host; UNREACHABLE: that, and why
WHICH = struct.Struct(f"!{TICKET_OCTETS}sB")
# TURNED_AWAY: is this the end of the connection?  The response code, a NUL, and what the client is told
TURNS = struct.Struct("!?")

# a question: number, kind, and what it is of; an answer: number, kind, and what follows
QUESTION = struct.Struct("!Qc")
ASK, BEGIN, GO_ON, GIVE_UP, ASK_FOR = b"a", b"b", b"g", b"u", b"f"
# ASK_FOR, with the client: its number, octets of the variables; these, and what ASK has
FOR = struct.Struct("!QI")
# BEGIN: octets of variables, and of the names that were told; is there an initial response, which follows?
BEGINS = struct.Struct("!II?")
SERVICE, EXTERNAL, MECHANISM = "service", "external", "mechanism"      # variables of the exchange itself
GRANTED, REFUSED, TEMPORARY, CHALLENGE, BEGUN = b"G", b"R", b"T", b"C", b"B"
# over grants: of the helper
GRANT = struct.Struct(f"!{TICKET_OCTETS}sI")       # ticket, pid of the login process; the account
# on the way for clients, with one: pid of the login process, number of the client, octets of the account; it,
# and the variables that the login process says
GIVEN = struct.Struct("!IQI")
# and of couriertcpd: the pid of a login process, with its channel of questions; a way to give clients
LOGIN, WAY = struct.Struct("!I"), b"w"

# over orders, of a process of sessions; OTHERS: what the client has said behind its login follows
DONE, SOON, OTHERS = b"d", b"s", b"o"
BRIEF = 0.05                   # seconds from the order to the word SOON, at most
_ORDER = struct.Struct("!III")         # octets of the three parts before the rest

# what a login process may say of a connection to the session: TLS_CONNECTED_PROTOCOL and the like
VARIABLES = frozenset(("IMAP_TLS", "IMAP_STARTTLS", "IMAP_TLS_REQUIRED", "IMAPLOGINTAG",
                       "TLS_CONNECTED_PROTOCOL", "PROTOCOL", "POP3_TLS", "POP3_STARTTLS",
                       "POP3_TLS_REQUIRED", "UTF8"))
VARIABLES_BEGIN = "TLS_SUBJECT_"
PROXY_SECONDS = "COURIERPY_PROXY_SECONDS"          # that a proxy has for its header; a variable with BEHIND
MAX_VALUE = 4096               # characters


def pack(variables: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    pairs = variables.items() if hasattr(variables, "items") else variables
    return "\0".join(map("=".join, pairs)).encode("utf-8", "surrogateescape")


def unpack(data: bytes) -> dict[str, str]:
    """What couriertcpd says is taken as it is."""
    found = {}
    for part in data.decode("utf-8", "surrogateescape").split("\0") if data else ():
        name, _, value = part.partition("=")
        found[name] = value
    return found


def allowed(variables: Mapping[str, str]) -> dict[str, str]:
    """Of what a login process says, what a session believes."""
    return {name: value for name, value in variables.items()
            if (name in VARIABLES or name.startswith(VARIABLES_BEGIN)) and len(value) <= MAX_VALUE
            and value.isprintable()}


def packed_in_clear(variables: Mapping[str, str]) -> bytes:
    """The same, packed, of a connection without TLS, whose certificate there is none to tell of: of many
    variables these few are quickly found."""
    return pack(allowed({name: variables[name] for name in VARIABLES if name in variables}))


def ends_of(data: bytes) -> tuple[tuple[str, int], tuple[str, int]]:
    """(remote, local) address and port of a message of the form ADDRESS.  Raises OSError or ValueError."""
    _, _, *words = ADDRESS.unpack(data)
    return (_address(words[0]), words[1]), (_address(words[2]), words[3])


def _address(octets: bytes) -> str:
    """Raises OSError or ValueError for what is none."""
    text = octets.rstrip(b"\0").decode("ascii")
    socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    return text


def said_before(data: bytes) -> tuple[dict[str, str], bytes]:
    """(variables, what the client has said) of the message AGAIN."""
    at = HEAD.size + SAID.size
    end = at + SAID.unpack_from(data, HEAD.size)[0]
    return unpack(data[at:end]), data[end:]


def asked_for(data: bytes) -> tuple[int, bytes, bytes]:
    """(number of the client, its variables, the request) of a question ASK_FOR.  Raises struct.error."""
    at = QUESTION.size + FOR.size
    number, size = FOR.unpack_from(data, QUESTION.size)
    return number, data[at:at + size], data[at + size:]


class Order:
    """A session that is to begin.  ``account``: as the helper rendered it.  ``known``: packed variables that
    couriertcpd has of the client, ``said``: those that the login process says.  ``rest``: what
    the client has said behind its login.

    ``asleep``: of one that is to go on after its sleep, which needs but the account besides: the
    descriptors of its channel to the keeper and of its state.  They go behind the client's."""

    __slots__ = ("account", "asleep", "known", "rest", "said")

    def __init__(self, account: bytes, known: bytes = b"", said: bytes = b"", rest: bytes = b"",
                 asleep: tuple[int, ...] = ()) -> None:
        self.asleep = asleep
        self.account = account
        self.known = known
        self.said = said
        self.rest = rest

    def parts(self) -> list[bytes]:
        """The message."""
        head = _ORDER.pack(len(self.account), len(self.known), len(self.said))
        return [head, self.account, self.known, self.said, self.rest]

    @classmethod
    def of(cls, data: bytes, asleep: tuple[int, ...]) -> Order:
        """Of couriertcpd's message, which is whole, and of the descriptors that came beside the client's."""
        account, known, said = _ORDER.unpack_from(data)
        at = _ORDER.size
        first, second = at + account, at + account + known
        return cls(data[at:first], data[first:second], data[second:second + said], data[second + said:],
                   asleep)
