"""docs/from-courier.md against the files and programs of the real Courier: each name is there."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from courierpy.system.settings import TABLE
from tests.conftest import REPO, need
from tests.peers.account_servers import CLIENTS

pytestmark = pytest.mark.peers
PAGE = (REPO / "docs" / "from-courier.md").read_text()
ASSIGNED = re.compile(r"^[# ]*([A-Za-z][A-Za-z0-9_]*)=", re.M)
NEEDLESS = re.compile(r"needless|authdaemond's|web mail's own|not read")


def rows() -> dict[str, str]:
    """What each name in the first cell of a row is here."""
    found = {}
    for line in PAGE.splitlines():
        cells = line.split("|")
        if len(cells) == 4:
            for words in re.findall(r"`([^`]+)`", cells[1]):
                found.update(dict.fromkeys(words.split(), cells[2]))
    return found


@pytest.mark.parametrize("name", ["imapd", "imapd-ssl", "pop3d", "pop3d-ssl", "authdaemonrc"])
def test_each_setting_of_a_file_has_its_row(name: str) -> None:
    """Those that are commented out, too; and what does nothing here is told so."""
    need("/usr/bin/imapd")
    file = Path("/etc/courier") / name
    if not file.exists():
        pytest.skip(f"{file} is not there")
    found = {*ASSIGNED.findall(file.read_text())}
    assert len(found) > 8
    told = rows()
    assert found <= told.keys()
    settings = {setting.name: setting for setting in TABLE}
    for one in found & settings.keys():
        assert bool(settings[one].unneeded) == bool(NEEDLESS.search(told[one])), one


@pytest.mark.parametrize("name", ["authldaprc", "authpgsqlrc", "authmysqlrc", "authsqliterc"])
def test_each_word_of_a_file_of_accounts_is_told_of_and_read(name: str) -> None:
    """As the packages bring the file; a row may have the end of a word alone, behind ``...`` or without."""
    files = [folder / name for folder in (CLIENTS / "courier-ldap/etc/courier", Path("/etc/courier"))]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        pytest.skip(f"{name} is not there")
    found = {*re.findall(r"^[# ]*((?:LDAP|LDAPTLS|PGSQL|MYSQL|SQLITE)_[A-Z_]+|DEFAULT_DOMAIN)\b",
                         file.read_text(), re.M)}
    assert len(found) > 8
    told = {word: row for row in (REPO / "docs" / "accounts.md").read_text().splitlines()
            for word in re.findall(r"`([A-Z._]+)`", row)}
    source = "".join(path.read_text() for path in (REPO / "courierpy" / "auth").glob("*.py"))
    for word in found:
        parts = [word[at.start():] for at in re.finditer("_", word)]
        ends = [word, *parts, *(f"...{part}" for part in parts)]
        row = next((told[end] for end in ends if end in told), None)
        assert row is not None, word
        assert NEEDLESS.search(row) or re.search(rf"\b{word}\b|\b{word.partition('_')[2]}\b", source), word


@pytest.mark.parametrize("package", ["courier-imap", "courier-pop", "courier-base", "courier-authlib",
                                     "courier-authdaemon", "courier-authlib-userdb"])
def test_each_program_of_a_package_is_told_of(package: str) -> None:
    done = subprocess.run([need("/usr/bin/dpkg"), "-L", package], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{package} is not installed")
    programs = {path.rpartition("/")[2].removesuffix(".courier") for path in done.stdout.split("\n")
                if re.match("/usr/(bin|sbin)/.", path)}
    words = {*re.findall(r"[\w-]+", PAGE)}
    assert not programs - words
