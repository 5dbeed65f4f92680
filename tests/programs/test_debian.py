"""debian/ agrees with what is released; that it builds is in test_package."""
from __future__ import annotations

import os
import re
import subprocess
from configparser import ConfigParser

import pytest

from courierpy import __version__
from courierpy.admin import SUBCOMMANDS
from courierpy.system import confined
from tests.conftest import REPO
from tools import manual

pytestmark = pytest.mark.source

DEBIAN = REPO / "debian"
# what is not python3- and its own name there
PACKAGES = {"argon2-cffi": "python3-argon2", "psycopg": "python3-psycopg", "python-pam": "python3-pampy"}


def control() -> str:
    return (DEBIAN / "control").read_text()


def test_one_version_everywhere() -> None:
    first = re.match(r"courierpy \((.*)-\d+\) ", (DEBIAN / "changelog").read_text())
    assert first is not None and first[1] == __version__
    told = re.search(r"^## (\S+)", (REPO / "CHANGES.md").read_text(), re.M)
    assert told is not None and told[1] == __version__


def test_all_that_is_needed_is_named() -> None:
    config = ConfigParser()
    config.read(REPO / "setup.cfg")
    needed = [line.split(";")[0] for line in config["options"]["install_requires"].split("\n")
              if line and not line.startswith("#") and "python_version" not in line]
    assert len(needed) > 3
    for line in needed:
        match = re.match(r"[\w-]+", line)
        assert match is not None
        package = PACKAGES.get(match[0], f"python3-{match[0].lower()}")
        assert re.search(rf"^ {package},$", control(), re.M), package
    version = config["options"]["python_requires"]
    assert f"X-Python3-Version: {version.replace('>=', '>= ')}\n" in control()


def test_names_that_others_own_come_back() -> None:
    """dpkg tells us when such a file goes: each is a program of ours."""
    text = (DEBIAN / "courierpy.triggers").read_text()
    names = re.findall(r"^interest-noawait /usr/bin/(\w+)$", text, re.M)
    assert {"imapd", "maildirkw"} <= set(names) <= manual.programs()
    assert "courierpy" not in names and set(names) - {"imapd"} <= set(SUBCOMMANDS)


def test_users_that_are_made_go() -> None:
    """Those of the package, which settings and units name."""
    users = {"courierpy-login", "courierpy-notify"}
    for script, told in (("postinst", "adduser --system"), ("postrm", "deluser --system")):
        text = (DEBIAN / f"courierpy.{script}").read_text()
        assert set(re.findall(r"courierpy-[a-z]+(?=[ ;])", text)) == users and told in text
    assert "courierpy-login" in confined.USERS
    assert 'NOTIFYD_USER="courierpy-notify"' in (DEBIAN / "rules").read_text()
    assert '\nNOTIFYD_USER=""\n' in (REPO / "etc" / "imapd").read_text()     # what the rules change


def test_scripts_can_be_read() -> None:
    tests = {path for path in (DEBIAN / "tests").iterdir() if path.name != "control"}
    scripts = [*DEBIAN.glob("courierpy.p*"), *tests]
    assert len(scripts) == 5
    for path in scripts:
        assert path.read_text().startswith("#!/bin/sh\n"), path
        subprocess.run(["sh", "-n", path], check=True, timeout=60)
    for path in (DEBIAN / "rules", *tests):
        assert os.access(path, os.X_OK), path
    assert set(re.findall(r"^Tests: (\S+)$", (DEBIAN / "tests" / "control").read_text(), re.M)) \
        == {path.name for path in tests}
