"""python -m tools.smoke WHEEL: does what is to be released work where nothing else of it is?

The wheel goes into a fresh environment, with what it needs and pytest.  Then each program says its version,
the files that belong to it are there, a Maildir is served, and the first example of docs/testing.md runs.
Exit status 1, and a line, at the first that does not.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
DEADLINE = 600.0               # seconds, of one step: packages may have to be fetched
PROGRAMS = ("couriertcpd", "imaplogin", "imapd", "rimapd", "maildirmake", "courierpy")
FILES = ("share/courierpy/etc/imapd", "share/courierpy/etc/imapd-ssl",
         "share/courierpy/systemd/courierpy.service", "share/courierpy/systemd/user/imapd@.service",
         "share/doc/courierpy/README.md",
         "share/doc/courierpy/docs/imapd.md", "share/doc/courierpy/docs/testing.md",
         "share/man/man8/imapd.8", "share/man/man8/rimapd.8",
         "share/bash-completion/completions/courierpy", "share/zsh/site-functions/_courierpy",
         "share/fish/vendor_completions.d/courierpy.fish")


class Broken(Exception):
    """str() says what does not work."""


def run(words: Sequence[str | Path], said: str = "", folder: Path | None = None) -> str:
    """What a command prints, with nothing of this environment or clone in reach.  Raises Broken."""
    environ = {name: value for name, value in os.environ.items()
               if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "COURIERPY"))}
    done = subprocess.run(words, input=said, capture_output=True, text=True, timeout=DEADLINE, check=False,
                          cwd=folder or tempfile.gettempdir(), env=environ)
    if done.returncode:
        command = " ".join(map(str, words))
        raise Broken(f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(what: str, text: str, wanted: str) -> None:
    if wanted not in text:
        raise Broken(f"{what}: {wanted!r} was expected in what it says:\n{text}")


def look_at(wheel: Path, folder: Path) -> None:
    """Raises Broken."""
    place = folder / "venv"
    run([sys.executable, "-m", "venv", place])
    binaries, python = place / "bin", place / "bin" / "python"
    run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, "pytest"])
    run([python, "-m", "pip", "check"])
    version = wheel.name.split("-")[1]
    for program in PROGRAMS:
        expect(program, run([binaries / program, "--version"]), f"courierpy {version}")
    expect("python -m courierpy", run([python, "-m", "courierpy", "--version"]), f"courierpy {version}")
    for name in FILES:
        if not (place / name).is_file():
            raise Broken(f"{name}: it is not in the wheel")
    said = run([binaries / "courierpy", "config", "-C", place / FILES[0]])
    expect("courierpy config", said, "IMAP_CAPABILITY")
    expect("courierpy completion", run([binaries / "courierpy", "completion", "bash"]), "complete ")
    run([binaries / "maildirmake", folder / "Maildir"])
    said = run([binaries / "imapd", folder / "Maildir"], "a SELECT INBOX\nb LOGOUT\n")
    expect("imapd", said, "a OK [READ-WRITE]")
    tests = folder / "tests"
    tests.mkdir()
    page = (place / "share/doc/courierpy/docs/testing.md").read_text()
    example = re.search(r"^```python\n(.*?)^```", page, re.M | re.S)
    if example is None:
        raise Broken("docs/testing.md has no example")
    (tests / "test_example.py").write_text(example[1])
    expect("the example of docs/testing.md", run([binaries / "pytest", tests], folder=tests), "1 passed")


def main(words: list[str]) -> int:
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="courierpy-smoke-") as folder:
        try:
            look_at(Path(words[0]).resolve(), Path(folder))
        except (Broken, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{words[0]}: works in a fresh environment")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
