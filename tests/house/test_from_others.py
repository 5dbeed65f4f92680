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

# first word of a row -> the tests that fail where it is not true; what has nothing here needs none
SHOWN = {
    "docs/from-cyrus.md": {
        "cyrus.conf": ("tests/programs/test_notify.py::test_the_units_are_sound",
                       "tests/programs/test_notify.py::test_a_service_from_start_to_end",
                       "tests/programs/test_pop3.py::test_courierpy_serve"),
        "krb.equiv": ("tests/auth/test_principals.py::test_lines",
                      "tests/auth/test_principals.py::test_external",
                      "tests/auth/test_principals.py::test_config_tells_bad_lines"),
        "imapd.conf": ("tests/settings/test_config.py::test_other_views_of_the_settings",
                       "tests/settings/test_settings.py::"
                       "test_shipped_files_name_every_setting_and_ship_the_defaults"),
        "backupd": ("tests/programs/test_backup.py::test_a_backup_is_the_maildir",
                    "tests/programs/test_backup.py::test_root_does_it_as_the_user"),
        "chk_cyrus": ("tests/programs/test_check.py::test_what_is_missing",),
        "ctl_backups": ("tests/programs/test_backup.py::test_from_any_maildir_and_an_older_backup",
                        "tests/programs/test_backup.py::test_killed_at_each_step_no_half_one_is_whole"),
        "ctl_deliver": ("tests/maildir/test_graveyard.py::test_expire_the_list_of_what_was_delivered",
                        "tests/lmtp/test_dialogue.py::test_the_same_message_comes_once_while_it_is_there"),
        "ctl_mboxlist": ("tests/programs/test_maildirs.py::test_folders",),
        "cvt_cyrusdb": ("tests/peers/test_dovecot.py::test_there_and_back",
                        "tests/maildir/test_dovecot.py::test_version_3"),
        "cyr_backup": ("tests/programs/test_backup.py::test_from_any_maildir_and_an_older_backup",
                       "tests/programs/test_backup.py::test_a_backup_is_the_maildir",
                       "tests/programs/test_maildirs.py::test_dump"),
        "cyr_buildinfo": ("tests/programs/test_maildirs.py::test_version",),
        "cyr_deny": ("tests/programs/test_who.py::test_the_list",
                     "tests/programs/test_who.py::test_who_is_denied_hears_it_behind_the_login",
                     "tests/programs/test_who.py::test_who_is_denied_is_ended"),
        "cyr_df": ("tests/programs/test_maildirs.py::test_df",),
        "cyr_info": ("tests/settings/test_config.py::test_other_views_of_the_settings",
                     "tests/settings/test_config.py::test_the_lines_are_a_file_of_settings",
                     "tests/programs/test_who.py::test_who_is_chosen"),
        "cyr_quota": ("tests/programs/test_quota.py::test_report",
                      "tests/programs/test_quota.py::test_count_again",
                      "tests/programs/test_quota.py::test_limits",
                      "tests/programs/test_quota.py::test_of_an_account",
                      "tests/programs/test_maildirs.py::test_all_accounts"),
        "cyr_restore": ("tests/programs/test_backup.py::test_what_is_lost_comes_back",
                        "tests/programs/test_backup.py::test_one_message_into_a_mailbox"),
        "deliver": ("tests/lmtp/test_deliver.py::test_to_users",
                    "tests/lmtp/test_deliver.py::test_a_mailbox_of_a_user",
                    "tests/lmtp/test_deliver.py::test_a_mailbox_with_a_list_of_rights",
                    "tests/lmtp/test_deliver.py::test_what_an_mta_hears",
                    "tests/lmtp/test_deliver.py::test_lmtp_of_deliver"),
        "imapd": ("tests/programs/test_letters.py::test_settings_of_a_file",
                  "tests/programs/test_letters.py::test_whatever_the_quota_is",
                  "tests/programs/test_letters.py::test_a_layer_that_somebody_else_has",
                  "tests/programs/test_letters.py::test_any_password_for_who_is_on_this_host",
                  "tests/programs/test_letters.py::test_tls_from_the_first_octet_on",
                  "tests/programs/test_letters.py::test_a_proxy_says_who_it_is",
                  "tests/programs/test_letters.py::test_a_debugger",
                  "tests/programs/test_reuse.py::test_how_often_one_serves_and_that_the_oldest_ends",
                  "tests/programs/test_notices.py::test_the_message_of_the_day",
                  "tests/programs/test_notices.py::test_shutdown_refuses",
                  "tests/programs/test_notices.py::test_a_record_of_a_user"),
        "ipurge": ("tests/programs/test_maildirs.py::test_what_goes",
                   "tests/programs/test_maildirs.py::test_purge_of_mailboxes"),
        "lmtpd": ("tests/lmtp/test_dialogue.py::test_a_message_comes_to_its_recipient",
                  "tests/lmtp/test_dialogue.py::test_who_comes_over_the_network_has_to_log_in",
                  "tests/lmtp/test_dialogue.py::test_words_of_the_command_line",
                  "tests/lmtp/test_serve.py::test_a_client_of_the_library_delivers"),
        "master": ("tests/programs/test_notify.py::test_several_listeners_are_one_service",
                   "tests/programs/test_bounds.py::test_no_bound_means_that_all_count",
                   "tests/settings/test_config.py::test_what_a_listener_is_started_with",
                   "tests/login/test_pool.py::test_several_are_forked_ahead_in_a_row"),
        "mbexamine": ("tests/programs/test_maildirs.py::test_dump",),
        "mbpath": ("tests/programs/test_maildirs.py::test_paths",
                   "tests/programs/test_maildirs.py::test_there_are_no_scripts",
                   "tests/programs/test_maildirs.py::test_names_on_a_command_line"),
        "mbtool": ("tests/programs/test_maildirs.py::test_times_by_the_date",
                   "tests/programs/test_check.py::test_another_uidvalidity"),
        "notifyd": ("tests/newmail/test_notifyd.py::test_from_a_delivery_to_a_url",
                    "tests/newmail/test_methods.py::test_mailto",
                    "tests/newmail/test_methods.py::test_external",
                    "tests/newmail/test_methods.py::test_tokens",
                    "tests/newmail/test_notifyd.py::test_a_socket_on_descriptor_0"),
        "pop3d": ("tests/pop3/test_dialogues.py::test_dialogue",
                  "tests/pop3/test_prelogin.py::test_there_is_no_apop",
                  "tests/programs/test_pop3.py::test_courierpy_serve"),
        "reconstruct": ("tests/programs/test_check.py::test_what_is_mended",
                        "tests/programs/test_check.py::test_odd_files_are_put_aside",
                        "tests/programs/test_check.py::test_each_message_is_compared_with_the_index",
                        "tests/programs/test_check.py::test_an_index_of_another_version_is_made_anew",
                        "tests/programs/test_check.py::test_another_uidvalidity"),
        "smmapd": ("tests/mta/test_smmapd.py::test_who_gets_mail",
                   "tests/mta/test_smmapd.py::test_a_mailbox_behind_a_plus",
                   "tests/mta/test_smmapd.py::test_the_command_line",
                   "tests/mta/test_serve.py::test_several_sockets_of_each_kind"),
        "unexpunge": ("tests/maildir/test_graveyard.py::test_unexpunge",
                      "tests/maildir/test_graveyard.py::test_what_is_expunged_is_kept_and_comes_back"),
    },
    "docs/from-uw.md": {
        "imapd": ("tests/programs/test_imapd.py::test_a_reply_is_one_write",
                  "tests/programs/test_imapd.py::test_a_uid_without_a_name",
                  "tests/clients/test_tunnel.py::test_imaplib_over_a_pipe",
                  "tests/programs/test_chain.py::test_plain"),
        "/etc/rimapd": ("tests/clients/test_programs.py::test_alpine_runs_rimapd",),
        "ipop3d": ("tests/programs/test_pop3.py::test_from_inetd",
                   "tests/programs/test_pop3.py::test_ipop3d_is_pop3d"),
        "mailutil": ("tests/programs/test_maildirs.py::test_dump",
                     "tests/programs/test_maildirs.py::test_folders",
                     "tests/peers/test_dovecot.py::test_there_and_back"),
        "dmail": ("tests/lmtp/test_deliver.py::test_from_a_forward",),
        "/etc/nologin": ("tests/programs/test_notices.py::test_nologin",),
        "/etc/imapd.alert": ("tests/programs/test_notices.py::test_alerts_of_uw",),
        "~/.imapalert": ("tests/programs/test_notices.py::test_alerts_of_uw",),
        "/etc/cram-md5.pwd": ("tests/programs/test_login.py::test_cram",
                              "tests/programs/test_userdb.py::test_states_for_cram"),
        "SIGUSR2": ("tests/programs/test_who.py::"
                    "test_a_session_from_a_shell_is_on_where_that_is_asked_for",),
        "-s": ("tests/programs/test_chain.py::test_imaps", "tests/programs/test_chain.py::test_certificates"),
        "~/mail": ("tests/maildir/test_layout.py::test_auto_finds_each_and_shows_all_of_it",
                   "tests/login/test_start.py::test_the_maildir_is_no_option",
                   "tests/dialogue/test_dialogues.py::test_dialogue"),
        "/etc/c-client.cf": ("tests/settings/test_settings.py::test_values",
                             "tests/programs/test_imapd.py::test_wrong_settings_are_told_one_line_each"),
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
    shown = SHOWN[page].get(name, ())
    assert bool(shown) != here.startswith(NOTHING), "a row has a test, but where there is nothing to test"
    for one in shown:
        path, _, test = one.partition("::")
        assert re.search(rf"^def {test}\(", (REPO / path).read_text(), re.M), one


def test_no_row_is_shown_that_is_not_there() -> None:
    for page, shown in SHOWN.items():
        assert shown.keys() <= rows(page).keys()
