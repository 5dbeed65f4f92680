"""The fixtures, in a pytest of their own: the page's examples, reports of what fails, and what is loaded."""
from __future__ import annotations

import configparser
import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import REPO, plain_environ

PAGE = REPO / "docs" / "testing.md"
DEADLINE = 110.0                       # seconds


def pytest_of(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Only the plugins that are named are loaded, wherever this is installed."""
    environ = plain_environ(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", TMPDIR=tempfile.gettempdir())
    return subprocess.run([sys.executable, "-m", "pytest", "-p", "courierpy.testing.plugin", "-p",
                           "no:cacheprovider", f"--basetemp={folder / 'base'}", *words, str(folder)],
                          capture_output=True, text=True, check=False, timeout=DEADLINE, cwd=folder,
                          env=environ)


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.mark.server
def test_the_examples_of_the_page(tmp_path: Path) -> None:
    """By two workers at a time, each with a server of its own."""
    for name in ("xdist", "imapclient", "imap_tools", "aioimaplib", "aiosmtpd"):
        pytest.importorskip(name)
    for number, text in enumerate(examples()):
        (tmp_path / f"test_{number}.py").write_text(text)
    done = pytest_of(tmp_path, "-p", "xdist", "-n", "2", "-q")
    count = sum(text.count("\ndef test_") + text.startswith("def test_") for text in examples())
    assert count >= 10
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.server
@pytest.mark.parametrize("capture", ["no", "fd", "sys"])
def test_what_was_said_is_shown_where_a_test_fails(capture: str, tmp_path: Path) -> None:
    """And pytest ends: no process or thread of the server keeps what it writes to."""
    (tmp_path / "test_it.py").write_text("""
import imaplib
import pytest

@pytest.fixture
def client(imap_account):
    client = imaplib.IMAP4(imap_account.host, imap_account.port)
    client.login(imap_account.user, imap_account.password)
    yield client
    client.shutdown()

def test_wrong(client):
    client.select("INBOX.Missing")
    assert client.noop()[0] == "NO"

def test_right(client):
    client.select("INBOX.Absent")
""")
    done = pytest_of(tmp_path, f"--capture={capture}")
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "imap_account: IMAP dialogue" in done.stdout
    assert re.search(r"^1 C: \S+ SELECT INBOX.Missing$", done.stdout, re.M)
    assert "imap_account: log of the server" in done.stdout and "LOGIN, user=user1" in done.stdout
    assert "INBOX.Absent" not in done.stdout


@pytest.mark.server
def test_a_server_that_does_not_come_up_is_an_error_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("""
import pytest

@pytest.fixture(scope="session")
def imap_settings():
    return {"AUTHMODULES": "authnobody"}
""")
    (tmp_path / "test_it.py").write_text("def test_it(imap_account):\n    pass\n")
    done = pytest_of(tmp_path)
    assert "1 error" in done.stdout, done.stdout + done.stderr
    assert re.search(r"ServerError: the server ended at its start; its log:\n.*authnobody", done.stdout)


def test_the_plugin_loads_nothing_that_is_not_asked_for() -> None:
    program = ("import sys, pytest\nbefore = set(sys.modules)\nimport courierpy.testing.plugin\n"
               "print(*sorted(set(sys.modules) - before))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          timeout=DEADLINE, cwd=REPO, env=plain_environ(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"))
    assert set(done.stdout.split()) <= {"courierpy", "courierpy.testing", "courierpy.testing.plugin"}


def test_the_package_names_the_plugin() -> None:
    settings = configparser.ConfigParser()
    settings.read(REPO / "setup.cfg")
    name, _, module = settings["options.entry_points"]["pytest11"].strip().partition(" = ")
    assert name == "courierpy"
    assert hasattr(importlib.import_module(module), "imap_account")


def test_the_package_has_types() -> None:
    assert (REPO / "courierpy" / "py.typed").exists()
    settings = configparser.ConfigParser()
    settings.read(REPO / "setup.cfg")
    assert "py.typed" in settings["options.package_data"]["courierpy"]
