"""ID before and after the login: what the client says of itself, and what is said of us.  RFC 2971."""
from __future__ import annotations

from courierpy.imap.grammar import lines, out
from courierpy.model.replies import Bad
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.system.settings import Settings

# RFC 2971 3.3
MAX_PAIRS = 30                 # a field and its value
MAX_FIELD = 30                 # octets
MAX_VALUE = 1024               # octets
MAX_TOLD = 1000                # characters of all in a line of the log


def pairs(args: Args) -> list[tuple[bytes, bytes | None]]:
    """The fields and values of the command, which ends there.  Bad."""
    args.sp()
    found: list[tuple[bytes, bytes | None]] = []
    if args.at(b"("):
        args.open()
        args.maybe_sp()
        while not args.at(b")"):
            if len(found) == MAX_PAIRS:
                raise Bad("Too many ID fields.")
            field = args.string()
            args.sp()
            value = args.nstring()
            if len(field) > MAX_FIELD or len(value or b"") > MAX_VALUE:
                raise Bad("ID field or value too long.", b"TOOBIG")
            found.append((field, value))
            args.maybe_sp()
        args.close()
    elif args.word() != b"NIL":
        raise Bad("ID needs a list or NIL.")
    args.end()
    return found


def told(found: list[tuple[bytes, bytes | None]]) -> str:
    """The pairs for the log, in Courier's form; cut."""
    words = []
    length = 0
    for field, value in found:
        words.append(f"{log.quoted(field)}={'(nil)' if value is None else log.quoted(value)}")
        length += len(words[-1])
        if length > MAX_TOLD:
            words[-1] = "..."
            break
    return ", ".join(words)


def reply(settings: Settings) -> bytes:
    """The untagged ID line.  IMAP_ID_FIELDS: bit 1 version, 2 os, 4 os-version."""
    import os

    from courierpy import __version__
    fields = [b"name", b"courierpy"]
    bits = settings.number("IMAP_ID_FIELDS")
    system = os.uname()
    if bits & 1:
        fields += [b"version", __version__.encode()]
    if bits & 2:
        fields += [b"os", system.sysname.encode()]
    if bits & 4:
        fields += [b"os-version", system.release.encode()]
    return lines.data(b"ID", b"(%s)" % b" ".join(map(out.quoted, fields)))
