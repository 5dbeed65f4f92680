"""docs/from-cyrus.md and docs/from-uw.md: each row names what is there, and here a test that shows it."""
from __future__ import annotations

import importlib
import re
from configparser import ConfigParser

import pytest

from courierpy.admin import SUBCOMMANDS
from courierpy.system.settings import TABLE
from tests.conftest import REPO

SUITE = ["arbitron", "backupd", "chk_cyrus", "ctl_backups", "ctl_conversationsdb", "ctl_cyrusdb",
         "ctl_deliver", "ctl_mboxlist", "cvt_cyrusdb", "cyr_backup", "cyr_buildinfo", "cyr_deny",
         "cyr_df", "cyr_info", "cyr_quota", "cyr_restore", "cyr_synclog", "deliver", "idled", "imapd",
         "ipurge", "lmtpd", "master", "mbexamine", "mbpath", "mbtool", "notifyd", "pop3d",
         "reconstruct", "smmapd", "timsieved", "tls_prune", "unexpunge"]
Captured = pytest.CaptureFixture[str]
NOTHING = ("nothing", "needless")

# first word of a row -> where its behaviour is tested; what has nothing here needs none
SHOWN = {
    "docs/from-cyrus.md": {
        "cyrus.conf": "tests/programs/test_notify.py::test_the_units_are_sound",
        "krb.equiv": "tests/auth/test_principals.py::test_external",
        "imapd.conf": "tests/settings/test_config.py",
        "backupd": "tests/programs/test_backup.py::test_a_backup_is_the_maildir",
        "chk_cyrus": "tests/programs/test_check.py::test_what_is_missing",
        "ctl_backups": "tests/programs/test_backup.py::test_from_any_maildir_and_an_older_backup",
        "ctl_deliver": "tests/maildir/test_graveyard.py::test_expire_the_list_of_what_was_delivered",
        "ctl_mboxlist": "tests/programs/test_maildirs.py::test_folders",
        "cvt_cyrusdb": "tests/maildir/test_dovecot.py",
        "cyr_backup": "tests/programs/test_backup.py::test_from_any_maildir_and_an_older_backup",
        "cyr_buildinfo": "tests/programs/test_maildirs.py::test_version",
        "cyr_deny": "tests/programs/test_who.py::test_the_list",
        "cyr_df": "tests/programs/test_maildirs.py::test_df",
        "cyr_info": "tests/programs/test_who.py::test_who_is_chosen",
        "cyr_quota": "tests/programs/test_quota.py::test_report",
        "cyr_restore": "tests/programs/test_backup.py::test_what_is_lost_comes_back",
        "deliver": "tests/lmtp/test_deliver.py::test_to_users",
        "imapd": "tests/programs/test_notices.py::test_shutdown_refuses",
        "ipurge": "tests/programs/test_maildirs.py::test_what_goes",
        "lmtpd": "tests/lmtp/test_dialogue.py",
        "master": "tests/programs/test_notify.py::test_several_listeners_are_one_service",
        "mbexamine": "tests/programs/test_maildirs.py::test_dump",
        "mbpath": "tests/programs/test_maildirs.py::test_paths",
        "mbtool": "tests/programs/test_maildirs.py::test_times_by_the_date",
        "notifyd": "tests/newmail/test_notifyd.py::test_from_a_delivery_to_a_url",
        "pop3d": "tests/pop3/test_dialogues.py",
        "reconstruct": "tests/programs/test_check.py::test_what_is_mended",
        "smmapd": "tests/mta/test_smmapd.py::test_who_gets_mail",
        "unexpunge": "tests/maildir/test_graveyard.py::test_unexpunge",
    },
    "docs/from-uw.md": {
        "imapd": "tests/programs/test_imapd.py::test_a_reply_is_one_write",
        "/etc/rimapd": "tests/clients/test_programs.py",
        "ipop3d": "tests/programs/test_pop3.py::test_from_inetd",
        "mailutil": "tests/programs/test_maildirs.py::test_dump",
        "dmail": "tests/lmtp/test_deliver.py::test_from_a_forward",
        "/etc/nologin": "tests/programs/test_notices.py::test_nologin",
        "/etc/imapd.alert": "tests/programs/test_notices.py::test_alerts_of_uw",
        "~/.imapalert": "tests/programs/test_notices.py::test_alerts_of_uw",
        "/etc/cram-md5.pwd": "tests/programs/test_login.py::test_cram",
        "SIGUSR2": "tests/programs/test_who.py::test_a_session_from_a_shell_is_on_where_that_is_asked_for",
        "-s": "tests/programs/test_chain.py::test_imaps",
        "~/mail": "tests/maildir/test_layout.py::test_auto_finds_each_and_shows_all_of_it",
        "/etc/c-client.cf": "tests/settings/test_settings.py",
    },
}


def rows(page: str) -> dict[str, tuple[str, str]]:
    """Second and third cell of each row, by the first word of its first one."""
    found = {}
    for line in (REPO / page).read_text().splitlines():
        if line.startswith("| ") and not line.startswith("|---"):
            first, here, otherwise = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            found[first.split(",")[0].strip("` ")] = here, otherwise
    return found


ROWS = [(page, name, *cells) for page in SHOWN for name, cells in rows(page).items()
        if name not in ("Cyrus", "UW")]


def test_each_program_of_the_suite_has_its_row() -> None:
    assert len(SUITE) == 33
    assert rows("docs/from-cyrus.md").keys() - {"Cyrus"} == {*SUITE, "cyrus.conf", "krb.equiv", "imapd.conf"}
    assert {"imapd", "/etc/rimapd", "ipop3d", "ipop2d", "SIGUSR2", "/etc/nologin", "/etc/imapd.alert",
            "~/.imapalert"} < rows("docs/from-uw.md").keys()


def programs() -> dict[str, str]:
    """Program -> its module."""
    config = ConfigParser()
    config.read(REPO / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].strip().splitlines()
    return {name.strip(): where.strip() for name, _, where in (line.partition("=") for line in lines)}


def helped(words: list[str], capfd: Captured) -> str:
    """What --help tells of ``courierpy TOOL`` or of a program."""
    if words[0] == "courierpy":
        assert words[1] in SUBCOMMANDS, words
        module = importlib.import_module(f"courierpy.admin.{words[1]}")
        try:
            assert module.main(["--help"]) == 0
        except SystemExit as end:
            assert not end.code
        return capfd.readouterr().out
    module = importlib.import_module(programs()[words[0]].partition(":")[0])
    return str(getattr(module, "USAGE", ""))


@pytest.mark.parametrize(("page", "name", "here", "otherwise"), ROWS, ids=[row[1] for row in ROWS])
def test_what_a_row_names_is_there(page: str, name: str, here: str, otherwise: str, capfd: Captured,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    settings = {setting.name for setting in TABLE}
    told = ""
    for text in (here, otherwise):
        for code in re.findall(r"`([^`]+)`", text):
            words = code.replace('"\\|', "").replace('"', "").split()
            if words[0] == "courierpy" or words[0] in programs():
                told = helped(words, capfd)
                words = words[2 if words[0] == "courierpy" else 1:]
            elif re.fullmatch(r"[A-Z][A-Z0-9_]+(=\w+)?", words[0]):
                assert words[0].partition("=")[0] in settings, code
                continue
            elif words[0].startswith("etc/"):
                assert (REPO / words[0]).exists(), code
                continue
            for option in filter(lambda word: word.startswith("-"), words):
                # of the program that was named last
                assert not told or re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), (code, option)
    shown = SHOWN[page].get(name, "")
    assert bool(shown) != here.startswith(NOTHING), "a row has a test, but where there is nothing to test"
    path, _, test = shown.partition("::")
    if shown:
        assert re.search(rf"^def {test or 'test_'}", (REPO / path).read_text(), re.M), shown


def test_no_row_is_shown_that_is_not_there() -> None:
    for page, shown in SHOWN.items():
        assert shown.keys() <= rows(page).keys()
