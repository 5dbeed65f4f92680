"""courierpy config: the settings in force, and what is odd about them, in three classes.

Wrong: something else was expected.  Lost: something is switched off
that may be missed.  Not needed: it does nothing here, and nothing is missed.
"""
from __future__ import annotations

import argparse
import os
import re
import socket
from functools import partial

from courierpy.admin import default_files, nearest, printable, read_settings
from courierpy.auth import NAMES, configured, principals, sound
from courierpy.imap import capability
from courierpy.listener import children
from courierpy.listener.options import Options, UsageError, parse_ports
from courierpy.system.findings import LOST, UNNEEDED, WRONG, Finding, check
from courierpy.system.settings import TABLE, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

wrong, lost, unneeded = (partial(Finding, kind) for kind in (WRONG, LOST, UNNEEDED))
HEADINGS = ((WRONG, "wrong"), (LOST, "lost"), (UNNEEDED, "not needed here"))
# read by programs here, and not in the table: of one connection, of a module, of the system
OTHERS = re.compile(r"AUTHSERVICE[0-9]{1,5}|AUTHCUSTOM|AUTHPIPE|AUTHDAEMON_SOCKET|TLS_CERTFILE_\w+|TZ|LANG|"
                    r"LC_\w+|PATH|PYTHONPATH|TMPDIR|HOSTNAME|MAILDIR|DEBUG_LOGIN")
# as Courier has them, with + where clients may not begin the handshake anew
_PROTOCOL = re.compile(r"(SSL(v?[23]|23)|TLSv?1(\.[0-3])?)\+*")
AUTHDAEMONRC = "authdaemonrc"      # beside the files of settings


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy config", description="the settings in force, and what "
                                     "is odd about them; exit status 1 when something is wrong")
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("-n", dest="differing", action="store_true",
                        help="only what differs from the default")
    parser.add_argument("--all", dest="everything", action="store_true",
                        help="with what each setting is for, and what it can be")
    parser.add_argument("--default", dest="defaults", action="store_true", help="the defaults alone")
    parser.add_argument("--lint", dest="only_odd", action="store_true", help="only what is odd")
    parser.add_argument("--since", metavar="FILE", help="only what differs from these settings, as a file "
                        "that another version or host has")
    options = parser.parse_args(words)
    if options.defaults:
        _show({}, False, options.everything)
        return 0
    files = options.files or default_files()
    if options.since is not None:
        _show_changes(read_settings([options.since]), read_settings(files))
        return 0
    lines_wrong: list[str] = []
    values = read_settings(files, lines_wrong)
    if not options.only_odd:
        _show(values, options.differing, options.everything)
    found = [*(wrong("", line) for line in lines_wrong), *findings(values, files)]
    for kind, heading in HEADINGS:
        lines = [finding for finding in found if finding.kind == kind]
        if lines:
            print(("" if options.only_odd else "\n") + f"# {heading}:")
        for finding in lines:
            print("#   " + printable(str(finding)))
    return 1 if any(finding.kind == WRONG for finding in found) else 0


def _show(values: Mapping[str, str], differing: bool, everything: bool) -> None:
    """The settings as lines of a file of settings.  ``everything``: with a comment above each."""
    for setting in TABLE:
        value = values.get(setting.name, setting.default)
        if not differing or value != setting.default:
            if everything:
                expected = ", ".join(setting.choices) or setting.kind
                print(f"# {setting.doc} ({expected}; default {_quoted(setting.default)})")
            print(f"{setting.name}={_quoted(value)}" + ("" if setting.name in values else "    # default"))


def _show_changes(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """What another file of settings has otherwise: its line behind a hyphen, ours behind a plus."""
    defaults = {setting.name: setting.default for setting in TABLE}
    for name in dict.fromkeys([*defaults, *sorted({*before, *now})]):
        old, new = (values.get(name, defaults.get(name)) for values in (before, now))
        if old != new:
            for sign, value in (("-", old), ("+", new)):
                if value is not None:
                    print(f"{sign}{name}={_quoted(value)}")


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value).replace("\n", " ") + '"'


def findings(values: Mapping[str, str], files: Sequence[str]) -> list[Finding]:
    """All that is odd, by the table and beyond it."""
    return [*check(values), *_unknown(values), *_capabilities(values), *_modules(values),
            *(wrong("", line) for line in sound.tokens_wrong(values)),
            *_principals(values), *_authdaemonrc(values, files), *listeners(values), *_tls(values),
            *_proxy(values), *_landlock(Settings(values))]


def _principals(values: Mapping[str, str]) -> list[Finding]:
    """What is odd about the map of names to users."""
    path = values.get(principals.VARIABLE, "")
    if not path:
        return []
    try:
        return [wrong(principals.VARIABLE, f"{path}: {text}") for text in principals.read(path).wrong]
    except (OSError, ValueError) as error:
        return [wrong(principals.VARIABLE, f"{path}: {getattr(error, 'strerror', '') or error}")]


def _unknown(values: Iterable[str]) -> list[Finding]:
    """Names that no program reads.  Those in small letters are the files' own, as ``prefix`` is."""
    known = [setting.name for setting in TABLE]
    found = []
    for name in sorted(values):
        if name in known or OTHERS.fullmatch(name) or not name.isupper():
            continue
        near = nearest(name, known)
        found.append(wrong(name, f"no setting has this name; did you mean {near}?") if near else
                     unneeded(name, "no setting has this name; nothing here reads it"))
    return found


def _capabilities(values: Mapping[str, str]) -> list[Finding]:
    """What IMAP_CAPABILITY hides, and what it names that is none."""
    settings = Settings(values)
    known = [word.decode().rstrip("=") for word in (*capability.KNOWN, *capability.MECHANISMS)]
    upper = {word.upper() for word in known}
    found = []
    for name in ("IMAP_CAPABILITY", "IMAP_CAPABILITY_TLS"):
        text = values.get(name, "")
        allowed = capability.choose(text or settings.text("IMAP_CAPABILITY"))
        hidden = [word.decode() for word in capability.IMPLEMENTED
                  if word.upper() not in allowed and word not in (b"LITERAL+", b"LITERAL-", b"IMAP4rev1")]
        if text and hidden:
            found.append(lost(name, f"not told to clients: {' '.join(hidden)}; all tells everything"))
        for word in text.split():
            plain = word.upper().lstrip("+-") if word[:1] in "+-" else word.upper()
            if plain == "ALL" or plain in upper or capability.family(plain.encode("ascii", "replace")):
                continue
            near = nearest(plain, known)
            found.append(wrong(name, f"{word}: no such capability; did you mean {near}?") if near else
                         lost(name, f"{word}: not implemented, and not told"))
    return found


def _modules(values: Mapping[str, str]) -> list[Finding]:
    """Modules that are unknown, or lack something."""
    modules = configured(values)
    found = []
    for line in sound.wrong(modules, values):
        word = re.search(r"no such auth module: (\S+?);", line)
        near = nearest(word[1], NAMES) if word else None
        found.append(wrong("AUTHMODULES", line + (f"; did you mean {near}?" if near else "")))
    if not modules:
        found.append(wrong("AUTHMODULES", f"nobody can log in; some of {' '.join(NAMES)} are expected"))
    return found + [lost("AUTHMODULES", line) for line in sound.odd(modules, values)]


def _authdaemonrc(values: Mapping[str, str], files: Sequence[str]) -> list[Finding]:
    """What authdaemond has of its own: its list of modules, and options of all accounts."""
    places = dict.fromkeys([os.path.join(os.path.dirname(path), AUTHDAEMONRC) for path in files])
    path = next(filter(os.path.isfile, places), None)
    if path is None:
        return []
    theirs, ours = read_settings([path]), configured(values)
    if "authdaemon" in ours:
        return []
    return [*_other_modules(path, theirs.get("authmodulelist", "").split(), ours),
            *_other_options(path, theirs.get("DEFAULTOPTIONS", ""), values.get("DEFAULTOPTIONS", ""))]


def _other_options(path: str, theirs: str, ours: str) -> list[Finding]:
    if not theirs or ours:
        return []
    return [lost("DEFAULTOPTIONS", f"{path} has {theirs!r}: it is to be set here too")]


def _other_modules(path: str, listed: list[str], ours: list[str]) -> list[Finding]:
    if not listed or listed == ours:
        return []
    text = f"{path} has authmodulelist=\"{' '.join(listed)}\", here AUTHMODULES=\"{' '.join(ours)}\" counts"
    foreign = [name for name in listed if name not in NAMES]
    if foreign:
        text += (f"; of these {' '.join(foreign)} can be asked only by AUTHMODULES=authdaemon, "
                 "with authdaemond running")
    return [lost("AUTHMODULES", text)]


def listeners(values: Mapping[str, str], start: str = "IMAPDSTART", start_tls: str = "IMAPDSSLSTART",
              starttls: str = "IMAPDSTARTTLS") -> list[Finding]:
    """Whether the listeners can start as it is asked for.  ``start``, ``start_tls``, ``starttls``: the names
    of the settings that ask for them."""
    settings = Settings(values)
    found = []
    plain, tls = settings.yes(start), settings.yes(start_tls)
    certificate = settings.text("TLS_CERTFILE")
    if not plain and not tls:
        found.append(lost(start, f"NO, and {start_tls} too: no listener is started"))
    if certificate and not os.path.exists(certificate):
        found.append(wrong("TLS_CERTFILE", f"{certificate} is not there: a certificate was expected, "
                             f"courierpy mkcert {certificate} makes one"))
    elif not certificate and tls:
        found.append(wrong("TLS_CERTFILE", f"empty, and {start_tls}=YES needs a certificate"))
    elif not certificate and plain and settings.yes(starttls):
        found.append(lost("TLS_CERTFILE", "empty: STARTTLS is not offered, passwords go as they are"))
    for name in ("PORT", "SSLPORT"):
        for part in settings.text(name).split(","):
            try:
                parse_ports(part, None)
            except UsageError:
                found.append(wrong(name, "ports from 1 to 65535, or names of services, are expected, not "
                                         f"{part!r}"))
    for name in ("ADDRESS", "SSLADDRESS"):
        address = settings.text(name)
        if address not in ("", "0") and not _resolves(address):
            found.append(wrong(name, f"an address, as 192.0.2.1, or 0 is expected, not {address!r}"))
    if not settings.text("MAILDIRPATH"):
        found.append(wrong("MAILDIRPATH", "empty: a path below the home is expected, as in Maildir"))
    return found + _options(settings)


def _resolves(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return bool(socket.getaddrinfo(address, 0, family, socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False


def _options(settings: Settings) -> list[Finding]:
    """Whether couriertcpd takes the options of TCPDOPTS."""
    try:
        options = Options(settings.text("TCPDOPTS").split())
        children.check(options.text)
    except UsageError as error:
        return [wrong("TCPDOPTS", str(error))]
    if options.rest:
        return [wrong("TCPDOPTS", f"options of couriertcpd are expected, not {options.rest[0]!r}")]
    return []


def _tls(values: Mapping[str, str]) -> list[Finding]:
    """Whether the certificates and what belongs to them can be loaded, where who asks may read them."""
    settings = Settings(values)
    found = []
    lowest = settings.text("TLS_PROTOCOL")
    if lowest and _PROTOCOL.fullmatch(lowest) is None:
        found.append(wrong("TLS_PROTOCOL", f"TLSv1.2 or TLSv1.3 is expected, not {lowest!r}"))
    elif lowest and not any(version in lowest for version in ("1.2", "1.3")):
        found.append(lost("TLS_PROTOCOL", f"{lowest}: nothing below TLS 1.2 is spoken"))
    files = [settings.text(name) for name in ("TLS_CERTFILE", "TLS_PRIVATE_KEYFILE", "TLS_TRUSTCERTS")]
    if os.path.exists(files[0]) and all(os.access(path, os.R_OK) for path in files if os.path.exists(path)):
        from courierpy.system import tls
        try:
            tls.load(settings)
        except tls.TlsError as error:
            found.append(wrong("", str(error)))
        tls.forget()
    return found


def _proxy(values: Mapping[str, str]) -> list[Finding]:
    """Whether the authorities of mailhost's certificate can be loaded, where logins are sent on."""
    settings = Settings(values)
    trusted = settings.text("PROXY_TRUSTCERTS")
    if trusted and (settings.flag("IMAP_PROXY") or settings.flag("POP3_PROXY")):
        from courierpy.system import tlsclient
        try:
            tlsclient.context(trusted)
        except OSError as error:       # ssl.SSLError is one
            return [wrong("PROXY_TRUSTCERTS", f"{trusted}: {error.strerror or error}")]
    return []


def _landlock(settings: Settings) -> list[Finding]:
    """Whether sessions can be confined, and what they then miss."""
    name, wanted = "IMAP_LANDLOCK", settings.landlock
    if wanted is None:
        return []
    from courierpy.system import landlock
    found = []
    word = settings.text(name)
    odd = [path for path in word.split(":") if not path.startswith("/")]
    if odd and word.lower() not in ("yes", "y", "1"):
        found.append(wrong(name, "YES or absolute directories with colons between are expected, "
                                 f"not {odd[0]!r}"))
    found += [wrong(name, f"{path} is not there") for path in wanted if not os.path.isdir(path)]
    if not landlock.version():
        found.append(lost(name, "that sessions are confined: this kernel has no Landlock, as Linux 5.19 has"))
    if settings.text("IMAP_SHAREDINDEXFILE") and not wanted:
        found.append(lost(name, "the mailboxes of #shared.: name the directory that the Maildirs are in"))
    if settings.text("OUTBOX"):
        found.append(lost(name, "mail that is sent by OUTBOX, where the mailer is setgid as Postfix's is"))
    return found
