"""courierpy autoconfig DOMAIN: what mail programs find the servers of a domain by, as the settings have them.

It prints Mozilla's config-v1.1.xml, Outlook's autodiscover.xml, a profile for Apple's programs, the JSON
of PACC and the records of the DNS; --write makes files of them, for the root of a web server.
"""
from __future__ import annotations

import argparse
import os
import re
import sys

from courierpy.admin import complain, default_files, give_up, read_settings
from courierpy.admin.autoconfigfiles import ADDRESS, DIRECT, LOCAL, PLAIN, STARTTLS, Domain, Server, files
from courierpy.admin.serve import IMAP_KINDS, POP3, POP3_KINDS
from courierpy.auth import configured
from courierpy.auth.mechanisms import takes_tokens
from courierpy.listener.options import UsageError, parse_ports
from courierpy.model.numbers import decimal
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.admin.serve import Kind

SUBMISSIONS, SUBMISSION = 465, 587     # RFC 8314 3.3
OF_SYSTEM = {"authpwd", "authshadow", "authpam"}       # modules whose users have no domain
NAME_CHARS = 253                       # of a name of the DNS (RFC 1035 2.3.4)
TITLE_CHARS = 60                       # of a displayName
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# IDNA 2003, which Python speaks, makes other names of these than IDNA 2008: RFC 5894 7.2
_DEVIATING = re.compile("[\u00df\u03c2\u200c\u200d]")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy autoconfig", description=__doc__)
    parser.add_argument("domain", metavar="DOMAIN", type=domain_name,
                        help="what stands behind the @ of addresses")
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("--pop3", action="append", metavar="FILE", help="settings file of POP3")
    parser.add_argument("--host", type=domain_name, help="this server, as clients call it, else mail.DOMAIN")
    parser.add_argument("--smtp", action="append", metavar="HOST:PORT",
                        help=f"where clients send mail, several times, else {SUBMISSION} of --host; "
                        f"{SUBMISSIONS} is TLS at once, others STARTTLS")
    parser.add_argument("--no-smtp", action="store_true", help="tell of no server for sending")
    parser.add_argument("--web", type=domain_name, metavar="HOST",
                        help="host whose web server has the files, else that of --host")
    parser.add_argument("--name", type=_title, help="what the account is called, else DOMAIN")
    parser.add_argument("--user", choices=(ADDRESS, LOCAL), help="users log in by their address, or by what "
                        "is before its @; else as AUTHMODULES says: the system's users are local")
    parser.add_argument("--plain", action="store_true", help="tell of listeners without TLS too")
    parser.add_argument("--write", metavar="FOLDER", help="write the files below this folder instead")
    options = parser.parse_args(words)
    host = options.host or _beside("mail", options.domain, parser)
    imap = options.files or default_files()
    pop3 = options.pop3 or ([] if options.files else default_files("pop3d", "pop3d-ssl"))
    values = read_settings(imap)
    servers = offered("imap", values, IMAP_KINDS, host, options.plain)
    if pop3:
        servers += offered("pop3", {**POP3, **read_settings(pop3)}, POP3_KINDS, host, options.plain)
    if not servers:
        give_up(f"no listener that clients of {options.domain} could reach by TLS: there is nothing to tell "
                f"({', '.join([*imap, *pop3]) or 'there is no file of settings'})")
    if not options.no_smtp:
        servers += [_smtp(word, parser) for word in options.smtp or [f"{host}:{SUBMISSION}"]]
    shown = readable(options.domain)
    user = options.user or (LOCAL if set(configured(values)) <= OF_SYSTEM else ADDRESS)
    made = files(Domain(options.domain, shown, options.name or shown, user, options.web or host,
                        _issuer(Settings(values)), servers))
    if options.write is not None:
        for name, text in made.items():
            _write(os.path.join(options.write, name), text)
        print(f"{options.write}: {len(made)} files made; the records of the DNS are in {options.domain}.zone")
        return 0
    for text in dict.fromkeys(made.values()):
        names = ", ".join(name for name, other in made.items() if other == text)
        # as octets: the files say that they are UTF-8, whatever the terminal speaks
        sys.stdout.buffer.write(f"# {names}\n".encode() + text + b"\n")
    return 0


def domain_name(text: str) -> str:
    """A name of the DNS in A-labels, for argparse: ``Bücher.example`` is ``xn--bcher-kva.example``."""
    found = _DEVIATING.search(text)
    if found:
        raise argparse.ArgumentTypeError(f"{text!r}: {found[0]!r} is written differently by the two versions "
                                         "of IDNA: say the name as the DNS has it, xn--...")
    try:
        name = text.rstrip(".").encode("idna").decode("ascii").lower() if text.isprintable() else ""
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if (len(name) > NAME_CHARS or len(labels) < 2 or not labels[-1].strip("0123456789")
            or not all(map(_LABEL.fullmatch, labels))):
        raise argparse.ArgumentTypeError(f"{text!r}: the name of a domain or host was expected, "
                                         "as example.org")
    return name


def readable(name: str) -> str:
    """A name in A-labels as people write it; itself where Python's IDNA does not lead back to it."""
    try:
        said = name.encode("ascii").decode("idna")
        return said if said.encode("idna").decode("ascii") == name else name
    except UnicodeError:
        return name


def _beside(label: str, domain: str, parser: argparse.ArgumentParser) -> str:
    try:
        return domain_name(f"{label}.{domain}")
    except argparse.ArgumentTypeError:
        parser.error(f"{domain} is too long for {label}.{domain}: name the server by --host")


def _title(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > TITLE_CHARS:
        raise argparse.ArgumentTypeError(f"{text!r}: from 1 to {TITLE_CHARS} characters that can be printed "
                                         "were expected")
    return text.strip()


def _smtp(word: str, parser: argparse.ArgumentParser) -> Server:
    host, colon, digits = word.rpartition(":")
    port = decimal(digits, 65535) if colon else SUBMISSION
    if not port:
        parser.error(f"argument --smtp: {word!r}: HOST:PORT was expected")
    try:
        name = domain_name(host if colon else word)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --smtp: {error}")
    return Server("smtp", name, port, DIRECT if port == SUBMISSIONS else STARTTLS)


def offered(protocol: str, values: Mapping[str, str], kinds: Mapping[str, Kind], host: str,
            plain: bool) -> list[Server]:
    """The listeners of a protocol, TLS at once first (RFC 8314 3); those that are not told, and why, are a
    line each on standard error."""
    settings = Settings(values)
    found = []
    for kind in sorted(kinds.values(), key=lambda kind: not kind.tls):
        if not settings.yes(kind.start):
            continue
        name = "SSLPORT" if kind.tls else "PORT"
        try:
            places = parse_ports(settings.text(name), settings.text("SSLADDRESS" if kind.tls else "ADDRESS"))
        except UsageError as error:
            give_up(f"{name}: {error}")
        ports = [port for address, port in places if not address.startswith("127.") and address != "::1"]
        secure = DIRECT if kind.tls else STARTTLS
        if not kind.tls and not (settings.yes(kind.sets[1]) and settings.text("TLS_CERTFILE")):
            secure = PLAIN
        if not ports:
            complain(f"{name}: nobody else reaches {settings.text(name)} of this host: not told")
        elif secure == PLAIN and not plain:
            complain(f"{name}: {settings.text(name)} has no TLS: not told without --plain")
        else:
            usual = {"imap": (143, 993), "pop3": (110, 995)}[protocol][kind.tls]
            found.append(Server(protocol, host, usual if usual in ports else ports[0], secure))
    return found


def _issuer(settings: Settings) -> str:
    """Whose access tokens are taken, where that is one that clients can ask; else ""."""
    issuers = settings.text("OAUTH_ISSUER").split()
    return issuers[0] if takes_tokens(settings) and issuers and issuers[0].startswith("https://") else ""


def _write(path: str, text: bytes) -> None:
    """Under its name it is whole, always: clients read it meanwhile."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    scratch = f"{path}.{os.getpid()}"
    try:
        with open(scratch, "xb") as file:
            file.write(text)
        os.replace(scratch, path)
    except OSError as error:
        if os.path.lexists(scratch):
            os.remove(scratch)
        raise type(error)(error.errno, error.strerror, path) from None

