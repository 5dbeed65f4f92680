"""courierpy config: what is odd about settings, in its three classes, and its exit status."""
from __future__ import annotations

from pathlib import Path

import pytest

from courierpy.admin import config, mkcert
from courierpy.admin.serve import IMAP_KINDS, listener_words
from courierpy.system.findings import LOST, UNNEEDED, WRONG
from courierpy.system.settings import Settings
from courierpy.system.settingsfile import parse_text

ETC = Path(__file__).resolve().parents[2] / "etc"


def found(text: str, files: list[str] | None = None) -> list[tuple[str, str]]:
    """(class, what is said) of each finding of the text, less what an empty file has too."""
    def said(text: str) -> list[tuple[str, str]]:
        values = parse_text("AUTHMODULES=authpwd\n" + text, "x")
        return [(finding.kind, str(finding)) for finding in config.findings(values, files or [])]
    before = said("")
    return [row for row in said(text) if row not in before]


@pytest.mark.parametrize(("text", "kind", "told"), [
    ("MAXDAEMONS=x", WRONG, "MAXDAEMONS: a number is expected, not 'x'"),
    ("MAXDAEMONS=0", WRONG, "MAXDAEMONS: a number of 1 or more is expected, not '0'"),
    ("IMAP_ID_FIELDS=8", WRONG, "from 0 to 7"), ("IMAP_IDLE_TIMEOUT=-1", WRONG, "of 1 or more"),
    ("IMAP_APPENDLIMIT=99999999999", WRONG, "from 0 to 4294967295"), ("IMAP_UMASK=9", WRONG, "octal digits"),
    ("IMAPDSTART=maybe", WRONG, "YES or NO is expected"), ("IMAP_PROXY=NO", WRONG, "a number is expected"),
    ("IMAP_LAYOUT=nested", WRONG, "one of auto, maildir++, fs"),
    ("TLS_VERIFYPEER=ALL", WRONG, "NONE, PEER, REQUIREPEER"),
    ("IMAP_FSYNC=sometimes", WRONG, "optimized, always"),
    ("IMAP_IDEL_TIMEOUT=9", WRONG, "no setting has this name; did you mean IMAP_IDLE_TIMEOUT?"),
    ("IMAP_TSL_REQUIRED=1", WRONG, "did you mean IMAP_TLS_REQUIRED?"),
    ("ZZ_OWN_THING=1", UNNEEDED, "no setting has this name"),
    ("AUTHMODULES=authuserbd", WRONG, "did you mean authuserdb?"),
    ("AUTHMODULES=", WRONG, "nobody can log in"),
    ("IMAP_CAPABILITY=\"IMAP4rev1 IDEL\"", WRONG, "IDEL: no such capability; did you mean IDLE?"),
    ("IMAP_CAPABILITY=\"IMAP4rev1 IDLE\"", LOST, "not told to clients: "),
    ("IMAP_CAPABILITY=-MOVE", LOST, "not told to clients: MOVE;"),
    ("IMAP_CAPABILITY=\"all XZZZ\"", LOST, "XZZZ: not implemented"),
    ("IMAP_ENHANCEDIDLE=0", LOST, "an idle client hears of mail after up to 60 s"),
    ("IMAP_ENHANCEDIDLE=0\nIMAP_IDLE_TIMEOUT=59", LOST, "after up to 59 s"),
    ("IMAP_ENHANCEDIDLE=0\nIMAP_IDLE_TIMEOUT=x", LOST, "after up to 60 s"),
    ("IMAP_EMPTYTRASH=Trash", WRONG, "folder:days is expected"),
    ("IMAP_EMPTYTRASH=Trash:7,Junk:x", WRONG, "as in Trash:7"),
    ("IMAP_KEYWORDS=0", LOST, "keywords"), ("IMAP_DISABLETHREADSORT=1", LOST, "SORT and THREAD"),
    ("IMAP_USELOCKS=0", LOST, "the lock"), ("IMAP_FSYNC=never", LOST, "after a crash"),
    ("MAXPERIP=4", LOST, "five connections"), ("PROXY_TLS=yes", WRONG, "one of may, no, starttls"),
    ("IMAP_PROXY=1\nPROXY_TRUSTCERTS=/no/such.pem", WRONG, "/no/such.pem: No such file"),
    ("POP3_PROXY=1\nPROXY_TRUSTCERTS=/dev/null", WRONG, "PROXY_TRUSTCERTS: /dev/null"),
    ("LOGGEROPTS=-name=x", UNNEEDED, "LOG_FORMAT"),
    ("TLS_CACHEFILE=/x", UNNEEDED, "session tickets"),
    ("TLS_CERTFILE=/no/such.pem", WRONG, "courierpy mkcert"),
    ("ADDRESS=192.0.2.999", WRONG, "an address, as 192.0.2.1, or 0 is expected, not '192.0.2.999'"),
    ("SSLADDRESS=::g", WRONG, "SSLADDRESS: an"), ("MAILDIRPATH=", WRONG, "empty: a path below the home"),
    ("TCPDOPTS=-nodnslokup", WRONG, "TCPDOPTS: Invalid option: -nodnslokup"),
    ("TCPDOPTS=\"-haproxy=0\"", WRONG, "TCPDOPTS: -haproxy=SECONDS is expected, more than 0"),
    ("TCPDOPTS=\"-user=nobody-knows-him\"", WRONG, "there is no such user"),
    ("TCPDOPTS=\"-warn=9 143\"", WRONG, "options of couriertcpd are expected, not '143'"),
    ("TLS_PROTOCOL=new", WRONG, "TLSv1.2 or TLSv1.3 is expected, not 'new'"),
    ("TLS_PROTOCOL=TLSv1.1++", LOST, "nothing below TLS 1.2"), ("TLS_PROTOCOL=SSL3", LOST, "nothing below"),
    ("IMAPDSSLSTART=YES", WRONG, "needs a certificate"), ("PORT=0", WRONG, "ports from 1 to 65535"),
    ("PORT=143,127.0.0.1.70000", WRONG, "'127.0.0.1.70000'"), ("PORT=imapp", WRONG, "names of services")])
def test_findings(text: str, kind: str, told: str) -> None:
    rows = found(text)
    assert any(row[0] == kind and told in row[1] for row in rows), rows


@pytest.mark.parametrize("text", [
    "POP3DSTART=YES\nMAXPERIP=4",
    "MAXDAEMONS=7", "ADDRESS=::1", "ADDRESS=127.0.0.1", "TLS_PROTOCOL=TLSv1.2++", "TLS_PROTOCOL=TLSv1.3",
    "TCPDOPTS=\"-nodnslookup -haproxy=9/143\"",
    "prefix=/usr", "AUTHSERVICE143=imap", "TZ=UTC", "PORT=143,[::1].993",
    "IMAP_CAPABILITY=all", "IMAP_CAPABILITY=+AUTH=CRAM-MD5", "IMAP_LAYOUT=FS", "IMAP_CAPABILITY=-LITERAL+",
    "IMAP_ACL=0", "IMAP_EMPTYTRASH=", "IMAP_EMPTYTRASH=7", "IMAP_EMPTYTRASH='Trash:7, Junk:30'",
    "TLS_CACHESIZE=", "TLS_VERIFYPEER=peer", "IMAP_KEYWORDS=2", "IMAP_UMASK=0077"])
def test_what_is_not_odd(text: str) -> None:
    assert found(text) == []


def test_the_shipped_files_have_nothing_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert config.main(["-C", str(ETC / "imapd"), "-C", str(ETC / "imapd-ssl")]) == 0
    assert "# wrong" not in capsys.readouterr().out


def test_certificates_that_cannot_be_loaded(tmp_path: Path) -> None:
    own, other = tmp_path / "own.pem", tmp_path / "other.pem"
    mkcert.make(str(own), "localhost")
    other.write_text("no certificate\n")
    assert not any(kind == WRONG for kind, _ in found(f"TLS_CERTFILE={own}"))
    for text, told in ((f"TLS_CERTFILE={other}", f"{other}: "),
                       (f"TLS_CERTFILE={own}\nTLS_CIPHER_LIST=NO-SUCH", "TLS_CIPHER_LIST=NO-SUCH: "),
                       (f"TLS_CERTFILE={own}\nTLS_PRIVATE_KEYFILE=/no/key", "/no/key: No such file"),
                       (f"TLS_CERTFILE={own}\nTLS_VERIFYPEER=REQUIREPEER", "authorities in TLS_TRUSTCERTS"),
                       (f"TLS_CERTFILE={own}\nTLS_VERIFYPEER=PEER\nTLS_TRUSTCERTS=/no/ca", "/no/ca")):
        assert any(row[0] == WRONG and told in row[1] for row in found(text)), (text, found(text))


def test_the_lines_are_a_file_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "imapd"
    file.write_text("PORT='2143'\nTCPDOPTS='a \"b\" $c \\ `d`'\nMAXPERIP=4\nLOGGEROPTS=x\nMAXDAEMONS=0\n")
    assert config.main(["-C", str(file)]) == 1
    out = capsys.readouterr().out
    assert out.index("# wrong:") < out.index("# lost:") < out.index("# not needed here:")
    assert 'MAXDAEMONS="0"\n' in out
    assert 'ADDRESS="0"    # default\n' in out
    assert config.main(["-n", "-C", str(file)]) == 1
    out = capsys.readouterr().out
    shown = [line.partition("=")[0] for line in out.splitlines() if line[:1] not in "#"]
    assert shown == ["PORT", "MAXDAEMONS", "MAXPERIP", "TCPDOPTS", "LOGGEROPTS"]
    assert 'TCPDOPTS="a \\"b\\" \\$c \\\\ \\`d\\`"' in out


def test_all_lines_that_are_no_assignments_are_told_at_once(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what else is wrong, and what the other lines set; octets that no terminal can show too."""
    files = tmp_path / "imapd", tmp_path / "imapd-ssl"
    files[0].write_bytes(b"MAXDAEMONS=7\nif true; then\nIMAP_KEYWORDS=9\nADDRESS=\"0\n")
    files[1].write_bytes(b"\xff\x1b[31m and\nPORT=144 145\n")
    assert config.main(["-n", "-C", str(files[0]), "-C", str(files[1])]) == 1
    out = capsys.readouterr().out
    assert 'MAXDAEMONS="7"' in out
    assert out[out.index("# wrong:"):].splitlines()[1:6] == [
        f"#   {files[0]}:2: not an assignment, NAME=value: if true; then",
        f"#   {files[0]}:4: a quote is not closed",
        f"#   {files[1]}:1: not an assignment, NAME=value: \\udcff\\x1b[31m and",
        f"#   {files[1]}:2: text behind the value: 145",
        "#   IMAP_KEYWORDS: a number from 0 to 2 is expected, not '9'"]


def test_courier_s_list_of_modules_is_told_where_it_differs(tmp_path: Path) -> None:
    files = [str(tmp_path / "imapd")]
    rc = tmp_path / "authdaemonrc"
    rc.write_text('# modules\nauthmodulelist="authvchkpw authpam"\ndaemons=5\n')
    text = "\n".join(str(finding) for finding in config.findings({"AUTHMODULES": "authpwd"}, files))
    assert 'authmodulelist="authvchkpw authpam", here AUTHMODULES="authpwd" counts' in text
    assert "authvchkpw can be asked only by AUTHMODULES=authdaemon" in text
    for modules in ("authvchkpw authpam", "authdaemon"):
        text = "\n".join(str(finding) for finding in config.findings({"AUTHMODULES": modules}, files))
        assert "authmodulelist" not in text


def test_options_that_authdaemond_gives_all_accounts_are_told(tmp_path: Path) -> None:
    files = [str(tmp_path / "imapd")]
    (tmp_path / "authdaemonrc").write_text('DEFAULTOPTIONS="disablepop3=1"\n')

    def told(**values: str) -> bool:
        return "DEFAULTOPTIONS: " in "\n".join(str(finding) for finding in config.findings(values, files))
    assert told(AUTHMODULES="authpwd")
    assert not told(AUTHMODULES="authdaemon")
    assert not told(AUTHMODULES="authpwd", DEFAULTOPTIONS="disablepop3=1")


def test_other_views_of_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old").write_text("AUTHMODULES=authpwd\nMAXPERIP=7\nPORT=144\n")
    (tmp_path / "new").write_text("AUTHMODULES=authpwd\nMAXPERIP=8\nMAXDAEMONS=x\n")
    files = ["-C", str(tmp_path / "new")]

    def told(*words: str) -> tuple[int, list[str]]:
        return config.main([*files, *words]), capsys.readouterr().out.splitlines()
    assert told("--since", str(tmp_path / "old")) == (0, [
        '-PORT="144"', '+PORT="143"', '-MAXDAEMONS="40"', '+MAXDAEMONS="x"', '-MAXPERIP="7"',
        '+MAXPERIP="8"'])
    status, lines = told("--lint")
    assert (status, lines[0]) == (1, "# wrong:")
    assert all(line.startswith("#") for line in lines)
    status, lines = told("--default")
    assert (status, 'MAXPERIP="20"    # default' in lines) == (0, True)
    status, lines = told("--all", "-n")
    at = lines.index('MAXPERIP="8"')
    assert lines[at - 1] == '# connections of one address (number; default "20")'


def test_what_a_listener_is_started_with() -> None:
    """MAXDAEMONS, MAXPERIP, ports and addresses of each kind, the Maildir."""
    settings = Settings({"MAXDAEMONS": "7", "MAXPERIP": "", "PORT": "2143", "SSLPORT": "2993",
                         "SSLADDRESS": "127.0.0.1", "TCPDOPTS": "-nodnslookup -warn=5",
                         "MAILDIRPATH": "Mail"})
    plain, tls = (listener_words(settings, kind, "") for kind in IMAP_KINDS.values())
    assert plain == ["couriertcpd", "-address=0", "-maxprocs=7", "-maxperip=20", "-nodnslookup", "-warn=5",
                     "2143", "imaplogin", "imapd", "Mail"]
    assert tls == ["couriertcpd", "-address=127.0.0.1", "-maxprocs=7", "-maxperip=20", "-nodnslookup",
                   "-warn=5", "-tls", "2993", "imaplogin", "imapd", "Mail"]
    assert listener_words(settings, IMAP_KINDS["plain"], "1143")[-4] == "1143"
