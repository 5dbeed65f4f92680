"""What CAPA tells, before the login and after it, and the languages of LANG.  RFC 2449, RFC 6856."""
from __future__ import annotations

from courierpy.auth import mechanisms
from courierpy.model.replies import No
from courierpy.pop3 import lines
from courierpy.system.starttls import starttls_offered, starttls_required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.settings import Settings

CAPABILITIES = b"+OK Here's what I can do:\r\n"
LANGUAGES = (b"en English", b"i-default Default")


def before_login(settings: Settings, tls: bool) -> list[bytes]:
    """The rows of CAPA."""
    required = starttls_required(settings, tls)
    named = [] if required else told(settings, tls)
    return _some((named, b"SASL " + b" ".join(named)), (starttls_offered(settings, tls), b"STLS")) \
        + after_login(settings, user=not required)


def after_login(settings: Settings, user: bool = True) -> list[bytes]:
    """The rows of CAPA.  They are those from before, where they are the same in both states: clients ask
    once."""
    delay = settings.number("POP3_LOGIN_DELAY")
    expire = settings.text("POP3_EXPIRE").upper().encode("ascii", "replace")
    return _some((True, b"TOP"), (user, b"USER"), (delay, b"LOGIN-DELAY %d" % delay), (True, b"PIPELINING"),
                 (True, b"UIDL"), (True, b"UTF8 USER"), (True, b"LANG"), (True, b"RESP-CODES"),
                 (True, b"AUTH-RESP-CODE"), (expire, b"EXPIRE " + expire),
                 (True, b"IMPLEMENTATION Courier Mail Server"))


def _some(*rows: tuple[object, bytes]) -> list[bytes]:
    return [row for wanted, row in rows if wanted]


def told(settings: Settings, tls: bool) -> list[bytes]:
    """The SASL mechanisms that clients are told of: POP3AUTH (POP3AUTH_TLS), and those that have settings of
    their own.  Others can be had by who asks for them, as with Courier."""
    text = (settings.text("POP3AUTH_TLS") if tls else "") or settings.text("POP3AUTH")
    named = set(text.upper().encode("ascii", "replace").split())
    found = [name for name in mechanisms.TABLE
             if (name in named or name.removesuffix(mechanisms.BINDS) in named or name in mechanisms.BY_TOKEN)
             and name != b"EXTERNAL" and mechanisms.usable(name, settings, tls)]
    return [*found, b"EXTERNAL"] if tls and settings.external_identity() else found


def language(rest: bytes) -> bytes:
    """The answer to LANG.  RFC 6856 3."""
    wanted = rest.strip()
    if not wanted:
        return lines.several(lines.ok("Language listing follows:"), LANGUAGES)
    for row in LANGUAGES:
        tag = row.split()[0]
        if wanted == b"*" or wanted.lower() == tag or wanted.lower().startswith(tag + b"-"):
            return lines.ok(tag + b" Language is English.")
    raise No("There is no such language here.")
