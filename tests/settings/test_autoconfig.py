"""courierpy autoconfig: the files that mail programs read, each looked at by a parser, and the records."""
from __future__ import annotations

import base64
import hashlib
import json
import plistlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from courierpy.admin import autoconfig

BOTH = """IMAPDSTART=YES
IMAPDSSLSTART=YES
TLS_CERTFILE=/etc/courier/imapd.pem
AUTHMODULES=authuserdb
"""
CONFIG = ".well-known/autoconfig/mail/config-v1.1.xml"
OUTLOOK = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"


def made(tmp_path: Path, settings: str, *words: str, domain: str = "example.org") -> dict[str, bytes]:
    """Name below the folder -> what is in it."""
    (tmp_path / "imapd").write_text(settings)
    folder = tmp_path / "web"
    assert autoconfig.main([domain, "-C", str(tmp_path / "imapd"), "--write", str(folder), *words]) == 0
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def servers(text: bytes) -> list[tuple[str, ...]]:
    """(type, host, port, TLS, user, how) of each in Mozilla's file."""
    provider = ElementTree.fromstring(text).find("emailProvider")
    assert provider is not None
    return [(one.get("type", ""), *(one.findtext(name, "") for name in (
        "hostname", "port", "socketType", "username", "authentication")))
        for one in provider if one.tag.endswith("Server")]


def records(found: dict[str, bytes], domain: str = "example.org") -> dict[str, str]:
    """Name -> type and value; the domain is left out."""
    lines = found[f"{domain}.zone"].decode().splitlines()
    return {match[1]: match[2] for line in lines
            if (match := re.fullmatch(rf"(\S+)\.{re.escape(domain)}\. IN (.+)", line))}


def test_all_files_agree(tmp_path: Path) -> None:
    found = made(tmp_path, BOTH, "--smtp", "out.example.org:465")
    assert sorted(found) == [CONFIG, ".well-known/user-agent-configuration.json",
                             "autodiscover/autodiscover.xml", "example.org.mobileconfig", "example.org.zone",
                             "mail/config-v1.1.xml"]
    assert found[CONFIG] == found["mail/config-v1.1.xml"]
    assert servers(found[CONFIG]) == [
        ("imap", "mail.example.org", "993", "SSL", "%EMAILADDRESS%", "password-cleartext"),
        ("imap", "mail.example.org", "143", "STARTTLS", "%EMAILADDRESS%", "password-cleartext"),
        ("smtp", "out.example.org", "465", "SSL", "%EMAILADDRESS%", "password-cleartext")]
    assert ElementTree.fromstring(found[CONFIG]).attrib == {"version": "1.1"}
    outlook = [{child.tag.removeprefix(OUTLOOK): child.text for child in one} for one in
               ElementTree.fromstring(found["autodiscover/autodiscover.xml"]).iter(f"{OUTLOOK}Protocol")]
    assert [(one["Type"], one["Port"], one["SSL"], one["Encryption"]) for one in outlook] == [
        ("IMAP", "993", "on", "SSL"), ("IMAP", "143", "on", "TLS"), ("SMTP", "465", "on", "SSL")]
    profile = plistlib.loads(found["example.org.mobileconfig"])
    (account,) = profile["PayloadContent"]
    assert account["PayloadType"] == "com.apple.mail.managed"
    assert account["EmailAccountType"] == "EmailTypeIMAP"
    assert (account["IncomingMailServerHostName"], account["IncomingMailServerPortNumber"],
            account["IncomingMailServerUseSSL"]) == ("mail.example.org", 993, True)
    assert (account["OutgoingMailServerHostName"], account["OutgoingMailServerPortNumber"]) == (
        "out.example.org", 465)
    assert account["PayloadUUID"] != profile["PayloadUUID"]
    configuration = found[".well-known/user-agent-configuration.json"]
    assert json.loads(configuration) == {
        "protocols": {"imap": {"host": "mail.example.org"}, "submit": {"host": "out.example.org"},
                      "smtp": {"host": "out.example.org"}},
        "authentication": {"password": True},
        "info": {"provider": {"name": "example.org", "shortName": "example.org"}}}
    digest = base64.b64encode(hashlib.sha256(configuration).digest()).decode()
    assert records(found) == {
        "_imaps._tcp": "SRV 0 1 993 mail.example.org.", "_imap._tcp": "SRV 1 1 143 mail.example.org.",
        "_pop3s._tcp": "SRV 0 0 0 .", "_pop3._tcp": "SRV 0 0 0 .",
        "_submissions._tcp": "SRV 0 1 465 out.example.org.", "_submission._tcp": "SRV 0 0 0 .",
        "autoconfig": "CNAME mail.example.org.", "ua-auto-config": "CNAME mail.example.org.",
        "_autodiscover._tcp": "SRV 0 1 443 mail.example.org.",
        "_ua-auto-config": f'TXT "v=UAAC1; a=sha256; d={digest}"'}


def test_records_are_what_a_parser_of_zones_takes(tmp_path: Path) -> None:
    import dns.zone
    found = made(tmp_path, BOTH)
    text = "$TTL 3600\n" + found["example.org.zone"].decode()
    parsed = dns.zone.from_text(text, origin="example.org", check_origin=False)
    (service,) = parsed.find_rdataset("_imaps._tcp", "SRV")
    assert (service.port, service.target.to_text()) == (993, "mail")
    (text,) = parsed.find_rdataset("_ua-auto-config", "TXT")
    assert text.strings[0].startswith(b"v=UAAC1; a=sha256; d=")


def test_only_what_is_started_and_reached_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = made(tmp_path, BOTH.replace("IMAPDSSLSTART=YES", "PORT=127.0.0.1.1143,10143"))
    assert [row[:4] for row in servers(found[CONFIG])] == [
        ("imap", "mail.example.org", "10143", "STARTTLS"), ("smtp", "mail.example.org", "587", "STARTTLS")]
    assert ".well-known/user-agent-configuration.json" not in found
    assert "_ua-auto-config" not in records(found)
    assert capsys.readouterr().err == ""
    found = made(tmp_path, BOTH + "ADDRESS=127.0.0.1\nIMAPDSTARTTLS=NO\nSSLPORT=9993,993\n")
    assert [row[2] for row in servers(found[CONFIG])] == ["993", "587"]
    assert "PORT: nobody else reaches 143 of this host: not told" in capsys.readouterr().err
    found = made(tmp_path, BOTH + "IMAPDSTARTTLS=NO\n")
    assert [row[2] for row in servers(found[CONFIG])] == ["993", "587"]
    assert "PORT: 143 has no TLS: not told without --plain" in capsys.readouterr().err


def test_without_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        made(tmp_path, "AUTHMODULES=authuserdb\n")
    assert "there is nothing to tell" in capsys.readouterr().err
    found = made(tmp_path, "AUTHMODULES=authuserdb\n", "--plain")
    assert servers(found[CONFIG])[0][:4] == ("imap", "mail.example.org", "143", "plain")
    assert records(found)["_imap._tcp"] == "SRV 1 1 143 mail.example.org."


def test_pop3(tmp_path: Path) -> None:
    pop3 = tmp_path / "pop3d"
    pop3.write_text("POP3DSTART=NO\nPOP3DSSLSTART=YES\n")
    found = made(tmp_path, BOTH, "--pop3", str(pop3))
    assert [row[::2] for row in servers(found[CONFIG])][2] == ("pop3", "995", "%EMAILADDRESS%")
    assert records(found)["_pop3s._tcp"] == "SRV 10 1 995 mail.example.org."


@pytest.mark.parametrize(("modules", "words", "user"), [
    ("authuserdb", (), "%EMAILADDRESS%"), ("authpam authpwd", (), "%EMAILLOCALPART%"),
    ("authpam authuserdb", (), "%EMAILADDRESS%"), ("authpam", ("--user", "address"), "%EMAILADDRESS%"),
    ("authuserdb", ("--user", "local"), "%EMAILLOCALPART%")])
def test_users(modules: str, words: tuple[str, ...], user: str, tmp_path: Path) -> None:
    found = made(tmp_path, f'{BOTH}AUTHMODULES="{modules}"\n', *words)
    assert {row[4] for row in servers(found[CONFIG])} == {user}
    local = user == "%EMAILLOCALPART%"
    assert ("autodiscover/autodiscover.xml" in found, "_autodiscover._tcp" in records(found)) == (
        not local, not local)


def test_tokens(tmp_path: Path) -> None:
    found = made(tmp_path, BOTH + "OAUTH_KEYFILE=/etc/courier/keys\nOAUTH_ISSUER=https://id.example.org/\n")
    told = json.loads(found[".well-known/user-agent-configuration.json"])
    assert told["authentication"] == {"password": True, "oauth-public": {"issuer": "https://id.example.org/"}}


@pytest.mark.parametrize("name", ["A & B <\"'>", "]]>", "Bücher – Пошта", "&#0; %x;", "<!ENTITY x 'y'>"])
def test_names_are_escaped(name: str, tmp_path: Path) -> None:
    found = made(tmp_path, BOTH, "--name", name)
    assert ElementTree.fromstring(found[CONFIG]).findtext("emailProvider/displayName") == name
    assert plistlib.loads(found["example.org.mobileconfig"])["PayloadDisplayName"] == name
    told = json.loads(found[".well-known/user-agent-configuration.json"])
    assert told["info"]["provider"]["name"] == name


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x00", "\x1b[2J", "x" * 61, "\udcff"])
def test_bad_names_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        made(tmp_path, BOTH, "--name", name)
    assert "characters that can be printed were expected" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "name"), [
    ("example.org", "example.org"), ("EXAMPLE.Org.", "example.org"),
    ("Bücher.example", "xn--bcher-kva.example"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("почта.рф", "xn--80a1acny.xn--p1ai")])
def test_domains(word: str, name: str, tmp_path: Path) -> None:
    found = made(tmp_path, BOTH, domain=word)
    provider = ElementTree.fromstring(found[CONFIG]).find("emailProvider")
    assert provider is not None and provider.get("id") == name
    named = [domain.text for domain in provider.findall("domain")]
    assert named[0] == name and len(named) == (2 if name.startswith("xn--") else 1)
    assert f"{name}.zone" in found and f"{name}.mobileconfig" in found


@pytest.mark.parametrize("word", [
    "", ".", "org", "a..b", "b.-a.org", "a-.org", "a_b.org", "*.org", "192.0.2.1", "[::1]", "a b.org",
    "a@b.org", "../../etc.org", "a/b.org", "straße.example", "x" * 64 + ".org", ".".join(["x" * 60] * 5),
    "a.org\n",
    "a\x00.org", "\udcff.org", "<a>.org"])
def test_what_is_no_domain_is_refused(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([word], ["example.org", "--host", word], ["example.org", "--smtp", f"{word}:465"]):
        with pytest.raises(SystemExit, match="2"):
            autoconfig.main([*words, "--write", str(tmp_path / "web")])
        assert "expected" in (told := capsys.readouterr().err) or "IDNA" in told
    assert not (tmp_path / "web").exists()


@pytest.mark.parametrize("word", ["a.org:", "a.org:0", "a.org:65536", "a.org:x", ":25", "a.org:+25"])
def test_bad_servers_for_sending(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        autoconfig.main(["example.org", "--smtp", word])
    assert "--smtp" in capsys.readouterr().err


def test_it_is_printed_without_write(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "imapd").write_text(BOTH)
    assert autoconfig.main(["example.org", "-C", str(tmp_path / "imapd"), "--no-smtp"]) == 0
    text = capfd.readouterr().out
    assert re.findall("^# (.+)", text, re.M) == [
        f"{CONFIG}, mail/config-v1.1.xml", "autodiscover/autodiscover.xml",
        ".well-known/user-agent-configuration.json", "example.org.zone"]
    assert "outgoingServer" not in text


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    first = made(tmp_path, BOTH, "--name", "one")
    second = made(tmp_path, BOTH, "--name", "two")
    assert sorted(first) == sorted(second)
    assert first[CONFIG] != second[CONFIG]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "imapd").write_text(BOTH)
    (tmp_path / "web").write_text("")
    with pytest.raises(OSError) as caught:
        autoconfig.main(["example.org", "-C", str(tmp_path / "imapd"), "--write", str(tmp_path / "web")])
    assert str(tmp_path / "web") in str(caught.value.filename)
