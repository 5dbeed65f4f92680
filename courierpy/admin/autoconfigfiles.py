"""What mail programs find a domain's servers by, as texts of values: XML, JSON, records of the DNS.

Pure: it reads no settings and writes no files.  All names in it are A-labels (RFC 5890 2.3.2.1) already.
"""
from __future__ import annotations

import base64
import hashlib
import json
import plistlib
import uuid
from xml.etree import ElementTree

DIRECT, STARTTLS, PLAIN = "SSL", "STARTTLS", "plain"           # as Mozilla's file has them
ADDRESS, LOCAL = "address", "local"                            # what a user is called at the login
TXT_CHARS = 255                        # of one string of a record (RFC 1035 3.3.14)
_DIRECT_PORTS = {"imap": 993, "pop3": 995, "smtp": 465}        # RFC 8314 7
_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/"
# service -> protocol, whether by TLS at once, and priority among its kind: RFC 6186 3.4, RFC 8314 5.1
_SERVICES = {"_imaps": ("imap", True, 0), "_imap": ("imap", False, 1), "_pop3s": ("pop3", True, 10),
             "_pop3": ("pop3", False, 11), "_submissions": ("smtp", True, 0),
             "_submission": ("smtp", False, 1)}


class Server:
    """``protocol``: imap, pop3 or smtp; ``host``: its name; ``secure``: DIRECT, STARTTLS or PLAIN."""

    __slots__ = ("host", "port", "protocol", "secure")

    def __init__(self, protocol: str, host: str, port: int, secure: str) -> None:
        self.protocol = protocol
        self.host = host
        self.port = port
        self.secure = secure


class Domain:
    """``name``, ``shown``: the domain in A-labels and as people write it; ``title``: what the account is
    called; ``user``: ADDRESS or LOCAL; ``web``: the host that serves the files; ``issuer``: of access tokens,
    or ""; ``servers``: the preferred ones first."""

    __slots__ = ("issuer", "name", "servers", "shown", "title", "user", "web")

    def __init__(self, name: str, shown: str, title: str, user: str, web: str, issuer: str,
                 servers: list[Server]) -> None:
        self.name = name
        self.shown = shown
        self.title = title
        self.user = user
        self.web = web
        self.issuer = issuer
        self.servers = servers

    def of(self, protocol: str, direct: bool) -> list[Server]:
        """The servers of a protocol: with TLS at once, or the others."""
        return [server for server in self.servers
                if server.protocol == protocol and (server.secure == DIRECT) == direct]


def _xml(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _child(parent: ElementTree.Element, name: str, text: str | int, **attributes: str) -> None:
    ElementTree.SubElement(parent, name, attributes).text = str(text)


def mozilla(domain: Domain) -> bytes:
    """config-v1.1.xml, which Thunderbird, K-9, Evolution, KMail and others read."""
    root = ElementTree.Element("clientConfig", version="1.1")
    provider = ElementTree.SubElement(root, "emailProvider", id=domain.name)
    for name in dict.fromkeys((domain.name, domain.shown)):
        _child(provider, "domain", name)
    _child(provider, "displayName", domain.title[:60])
    _child(provider, "displayShortName", domain.title[:20])
    for server in domain.servers:
        kind = "outgoingServer" if server.protocol == "smtp" else "incomingServer"
        one = ElementTree.SubElement(provider, kind, type=server.protocol)
        _child(one, "hostname", server.host)
        _child(one, "port", server.port)
        _child(one, "socketType", server.secure)
        _child(one, "username", "%EMAILADDRESS%" if domain.user == ADDRESS else "%EMAILLOCALPART%")
        _child(one, "authentication", "password-cleartext")
    return _xml(root)


def outlook(domain: Domain) -> bytes:
    """autodiscover.xml as a file, the same for all: it names no user, and Outlook takes the address."""
    root = ElementTree.Element("Autodiscover", xmlns=_OUTLOOK + "responseschema/2006")
    response = ElementTree.SubElement(root, "Response", xmlns=_OUTLOOK + "outlook/responseschema/2006a")
    account = ElementTree.SubElement(response, "Account")
    _child(account, "AccountType", "email")
    _child(account, "Action", "settings")
    for server in domain.servers:
        one = ElementTree.SubElement(account, "Protocol")
        for name, text in (("Type", server.protocol.upper()), ("Server", server.host),
                           ("Port", str(server.port)), ("DomainRequired", "off"), ("SPA", "off"),
                           ("SSL", "off" if server.secure == PLAIN else "on"),
                           ("Encryption", {DIRECT: "SSL", STARTTLS: "TLS", PLAIN: "None"}[server.secure]),
                           ("AuthRequired", "on")):
            _child(one, name, text)
    return _xml(root)


def apple(domain: Domain) -> bytes | None:
    """A profile for macOS and iOS, which ask for address, user and password; None without a server for
    reading and one for sending."""
    incoming = next((server for server in domain.servers if server.protocol != "smtp"), None)
    outgoing = next((server for server in domain.servers if server.protocol == "smtp"), None)
    if incoming is None or outgoing is None:
        return None

    def header(kind: str, word: str) -> dict[str, object]:
        # the same domain has the same profile, so that a new one replaces that before
        name = f"{word}.{domain.name}"
        return {"PayloadType": kind, "PayloadVersion": 1, "PayloadIdentifier": name,
                "PayloadUUID": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)).upper(),
                "PayloadDisplayName": domain.title}

    account = {
        **header("com.apple.mail.managed", "account.mail"),
        "EmailAccountDescription": domain.title,
        "EmailAccountType": "EmailTypeIMAP" if incoming.protocol == "imap" else "EmailTypePOP",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": incoming.host, "IncomingMailServerPortNumber": incoming.port,
        "IncomingMailServerUseSSL": incoming.secure != PLAIN,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": outgoing.host, "OutgoingMailServerPortNumber": outgoing.port,
        "OutgoingMailServerUseSSL": outgoing.secure != PLAIN,
        "OutgoingPasswordSameAsIncomingPassword": True}
    return plistlib.dumps({**header("Configuration", "mail"), "PayloadContent": [account]})


def pacc(domain: Domain) -> bytes | None:
    """user-agent-configuration.json (draft-ietf-mailmaint-pacc-03); None where no server is reached by TLS
    from the first octet at the port of its protocol: the draft knows no other.

    The server for sending is ``submit`` since -03, and was ``smtp`` before; readers pass over what they do
    not know.
    """
    protocols = {}
    for protocol, port in _DIRECT_PORTS.items():
        host = next((server.host for server in domain.of(protocol, True) if server.port == port), None)
        if host is not None:
            for name in ("submit", "smtp") if protocol == "smtp" else (protocol,):
                protocols[name] = {"host": host}
    if not protocols.keys() & {"imap", "pop3"}:
        return None
    authentication: dict[str, object] = {"password": True}
    if domain.issuer:
        authentication["oauth-public"] = {"issuer": domain.issuer}
    title = " ".join(domain.title.split())
    told = {"protocols": protocols, "authentication": authentication,
            "info": {"provider": {"name": title[:60].strip(), "shortName": title[:20].strip()}}}
    return json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def records(domain: Domain, configuration: bytes | None) -> str:
    """Records of the DNS as lines of a zone file.  ``configuration``: what pacc() made, whose digest is
    told."""
    lines = []
    for service, (protocol, direct, priority) in _SERVICES.items():
        found = domain.of(protocol, direct)
        lines += [f"{service}._tcp.{domain.name}. IN SRV {priority} 1 {server.port} {server.host}."
                  for server in found]
        if not found:
            # "." as the host says that there is no such service: RFC 6186 3.4
            lines.append(f"{service}._tcp.{domain.name}. IN SRV 0 0 0 .")
    names = ["autoconfig", *(["ua-auto-config"] if configuration is not None else [])]
    lines += [f"{name}.{domain.name}. IN CNAME {domain.web}." for name in names
              if f"{name}.{domain.name}" != domain.web]
    if domain.user == ADDRESS:
        lines.append(f"_autodiscover._tcp.{domain.name}. IN SRV 0 1 443 {domain.web}.")
    if configuration is not None:
        digest = base64.b64encode(hashlib.sha256(configuration).digest()).decode()
        text = f"v=UAAC1; a=sha256; d={digest}"
        assert len(text) <= TXT_CHARS
        lines.append(f'_ua-auto-config.{domain.name}. IN TXT "{text}"')
    return "\n".join(lines) + "\n"


def files(domain: Domain) -> dict[str, bytes]:
    """All of it: the path below the web server's root -> the file; the records are in one beside them."""
    config = mozilla(domain)
    configuration = pacc(domain)
    profile = apple(domain)
    found = {".well-known/autoconfig/mail/config-v1.1.xml": config, "mail/config-v1.1.xml": config}
    if domain.user == ADDRESS:
        found["autodiscover/autodiscover.xml"] = outlook(domain)
    if configuration is not None:
        found[".well-known/user-agent-configuration.json"] = configuration
    if profile is not None:
        found[f"{domain.name}.mobileconfig"] = profile
    found[f"{domain.name}.zone"] = records(domain, configuration).encode()
    return found
