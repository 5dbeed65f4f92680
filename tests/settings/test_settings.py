"""The parser of the shell's assignments, the shipped files, and the table."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from courierpy.system.findings import check, wrong_ones
from courierpy.system.settings import TABLE, Settings, SettingsError
from courierpy.system.settingsfile import parse_file, parse_text

ETC = Path(__file__).resolve().parents[2] / "etc"
SET_BY_LISTENER = {"IMAP_TLS", "IMAP_STARTTLS", "POP3_TLS"}
OF_POP3 = {"PORT": "110", "SSLPORT": "995", "TLS_ALPN": "pop3"}


@pytest.mark.parametrize(("line", "value"), [
    ("A=b", "b"), ("A='b c'", "b c"), ('A="b $B c"', "b bee c"), ("A=$B", "bee"), ("A=${B}x", "beex"),
    ("A='$B'", "$B"), ('A="x\\"y"', 'x"y'), ("A=b # why", "b"), ("A=", ""), ("A=b\\ c", "b c"),
    ("export A=b", "b"), ('A="a"b\'c\'', "abc"), ("A=a#b", "a#b"), ("A=$NONE", "")])
def test_values(line: str, value: str) -> None:
    assert parse_text(f"B=bee\n{line}\n", "x")["A"] == value


@pytest.mark.parametrize("line", ["A b", 'A="b', "A=b c", "A=`id`", 'A="$(id)"', "if true"])
def test_errors_name_file_and_line(line: str) -> None:
    with pytest.raises(SettingsError, match=r"^etc/x:2: "):
        parse_text(f"B=1\n{line}\n", "etc/x")


def test_all_wrong_lines_are_told_in_one_line() -> None:
    with pytest.raises(SettingsError) as told:
        parse_text("A\nB=1\nC=\"\n" + "D\n" * 9, "x")
    wrong = [f"x:{line}: not an assignment, NAME=value: D" for line in (4, 5, 6)]
    assert str(told.value) == "; ".join([
        "x:1: not an assignment, NAME=value: A", "x:3: a quote is not closed", *wrong, "and 6 lines more"])


def test_missing_file() -> None:
    with pytest.raises(SettingsError, match="No such file"):
        parse_file("/nonexistent/imapd")


def test_shipped_files_name_every_setting_and_ship_the_defaults() -> None:
    text = (ETC / "imapd").read_text() + (ETC / "imapd-ssl").read_text()
    pop3 = (ETC / "pop3d").read_text() + (ETC / "pop3d-ssl").read_text()
    named = named_in(text)
    own = set(named_in(pop3)).difference(named)
    assert all(name.startswith(("POP3", "MIME_")) for name in own)
    assert sorted([*named, *own]) == sorted(
        setting.name for setting in TABLE if setting.name not in SET_BY_LISTENER)
    values = parse_file(str(ETC / "imapd-ssl"), parse_file(str(ETC / "imapd")))
    for setting in TABLE:
        if setting.name in values and not setting.name.startswith("IMAP_CAPABILITY"):
            assert values[setting.name] == setting.default, setting.name
        if setting.unneeded and "webadmin" not in setting.doc:
            paragraph = (text + pop3).partition(f"##NAME: {setting.name}:")[2].partition("##NAME")[0]
            assert "Needless here" in " ".join(paragraph.replace("#", "").split()), setting.name
    assert check(values) == []
    assert values["MAXPERIP"] == "20"
    values = parse_file(str(ETC / "pop3d-ssl"), parse_file(str(ETC / "pop3d")))
    assert check(values) == []
    for setting in TABLE:
        if setting.name in values:
            assert values[setting.name] == OF_POP3.get(setting.name, setting.default), setting.name


def named_in(text: str) -> list[str]:
    return [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("##NAME:")]


def test_shipped_capabilities_are_those_implemented() -> None:
    from courierpy.imap import capability
    values = parse_file(str(ETC / "imapd"))
    assert values["IMAP_CAPABILITY"] == "all"
    paragraph = (ETC / "imapd").read_text().partition("all\n#  is: ")[2].partition("\n\n")[0]
    assert sorted(paragraph.encode().replace(b"#", b"").split()) == sorted(
        word for word in capability.IMPLEMENTED
        if word not in (b"LITERAL-", b"MAILBOX-REFERRALS"))        # without the list that it wants


def test_numbers_as_atoi() -> None:
    settings = Settings({"IMAP_KEYWORDS": " 2x", "MAXDAEMONS": "x"})
    assert settings.number("IMAP_KEYWORDS") == 2
    assert settings.number("IMAP_OBSOLETE_CLIENT") == 0
    assert settings.number("MAXDAEMONS") == 40             # 0 would be beyond its bounds
    assert settings.number("IMAP_IDLE_TIMEOUT") == 60


@pytest.mark.parametrize(("name", "value", "number"), [
    ("MAXDAEMONS", "0", 1), ("MAXDAEMONS", "-5", 1), ("IMAP_IDLE_TIMEOUT", "", 60),
    ("IMAP_ID_FIELDS", "99", 7), ("IMAP_IDLE_KEEPALIVE", "99999", 1740),
    ("IMAP_APPENDLIMIT", "9" * 5000, 4294967295), ("NONE_OF_OURS", "7", 7)])
def test_numbers_stay_within_their_bounds(name: str, value: str, number: int) -> None:
    assert Settings({name: value}).number(name) == number


def test_an_empty_number_is_the_default() -> None:
    """As if the line were not there."""
    numbers = [setting for setting in TABLE if setting.kind == "number"]
    assert {"IMAP_LOGIN_PROCESSES", "IMAP_HIBERNATE", "MAXDAEMONS"} <= {setting.name for setting in numbers}
    for setting in numbers:
        for empty in ("", "  "):
            found = Settings({setting.name: empty}).number(setting.name)
            assert found == int(setting.default), setting.name


def test_bounds_and_choices_hold_for_the_defaults() -> None:
    for setting in TABLE:
        assert setting.wrong(setting.default) == "", setting.name
        assert (setting.low is None and setting.high is None) or setting.kind in ("number", "numbers")
        assert bool(setting.choices) is (setting.kind == "choice"), setting.name
        if setting.off is not None:
            assert not re.fullmatch(setting.off[0], setting.default), setting.name


def test_numbers_by_name() -> None:
    settings = Settings({"IMAP_APPENDLIMIT": "30 Drafts=5 Sent%20Items=0 a.b=4294967295"})
    names = ("INBOX", "Drafts", "Sent Items", "a.b", "a")
    assert [settings.of_word("IMAP_APPENDLIMIT", name) for name in names] == [30, 5, 0, 4294967295, 30]
    for value, wrong in (("8", False), ("8 a=5", False), ("a=5", False), ("", False), ("x", True),
                         ("8 a=x", True), ("8 =5", True), ("99999999999", True), ("8 a=99999999999", True)):
        assert bool(check({"IMAP_APPENDLIMIT": value})) == wrong, value


def test_wrong_values_of_a_session_are_told_with_what_counts() -> None:
    wrong = {"IMAP_UMASK": "9x", "IMAP_ULIMITD": "many", "IMAP_IDLE_TIMEOUT": "soon", "IMAP_READONLY": "yes",
             "IMAP_IDLE_KEEPALIVE": "99999", "IMAP_REUSE": "always", "IMAP_HIBERNATE": "-5"}
    assert wrong_ones({**wrong, "IMAP_LAYOUT": "fo", "PORT": "x", "MAXDAEMONS": "x", "IMAP_MINE": "x"}) == [
        "IMAP_HIBERNATE: a number of 0 or more is expected, not '-5'; 0 counts",
        "IMAP_IDLE_KEEPALIVE: a number from 0 to 1740 is expected, not '99999'; 1740 counts",
        "IMAP_IDLE_TIMEOUT: a number is expected, not 'soon'; 60 counts",
        "IMAP_READONLY: a number is expected, not 'yes'; 0 counts",
        "IMAP_REUSE: one of account, uid, no is expected, not 'always'; it counts as if it were not set",
        "IMAP_ULIMITD: a number is expected, not 'many'; 0 counts",
        "IMAP_UMASK: octal digits are expected, as in 077, not '9x'; it counts as if it were not set"]
    assert wrong_ones({setting.name: setting.default for setting in TABLE}) == []
