"""What a bare session loads, the command index, and words that must not be in the code."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from courierpy import capability
from courierpy.commands import build_index
from courierpy.ext.index import CAPABILITIES
from tests.conftest import plain_environ

HOUSE = Path(__file__).resolve().parents[2]
HEAVY = ("typing", "dataclasses", "logging", "argparse", "email", "ssl", "asyncio", "random", "threading",
         "subprocess", "tempfile", "shutil", "pathlib", "passlib", "pyinotify", "datetime")


def test_a_bare_session_loads_no_heavy_module(maildir: Path) -> None:
    program = ("import sys\nfrom courierpy.imapd import main\n"
               "main(['imapd', sys.argv[1]], {'AUTHENTICATED': 'demo'})\n"
               "print('loaded', *sorted(sys.modules), file=sys.stderr)\n")
    done = subprocess.run([sys.executable, "-I", "-S", "-c",
                           f"import sys; sys.path.insert(0, {str(HOUSE)!r})\n" + program, str(maildir)],
                          input=b"a LOGOUT\r\n", capture_output=True, env=plain_environ(), check=True)
    loaded = done.stderr.decode().rpartition("loaded ")[2].split()
    assert "courierpy.session" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_the_index_equals_the_decorations() -> None:
    assert build_index.main(["--check"]) == 0


def test_every_extension_is_implemented_by_its_word() -> None:
    assert {word for words in CAPABILITIES.values() for word in words} <= set(capability.IMPLEMENTED)
