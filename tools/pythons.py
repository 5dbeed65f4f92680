"""python -m tools.pythons: run the quick tests on every Python from 3.11 on that the machine has.

Looked for in PATH, in the usual folders of the distribution and among the versions of
pyenv.  Each gets an environment of its own below .venv/pythons, kept for the next time.
What looks at the source alone (the mark ``source``) is the same on each, and is left to
`make check`.  That has run all of them on the interpreter of .venv, with passlib: here this
one runs those that hash passwords, with libpass, passlib's maintained successor.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping

HOUSE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENTS = os.path.join(HOUSE, ".venv", "pythons")
OLDEST = (3, 11)
NAME = re.compile(r"python3(?:\.\d+)?")
QUICK = "not server and not clients and not peers and not source"
# where passwords are hashed
HASHING = ("tests/auth", "tests/programs/test_accounts.py", "tests/programs/test_login.py",
           "tests/programs/test_notify.py", "tests/programs/test_userdb.py")
# where an interpreter really is, and of which version; it answers for the shims of pyenv, too
PROBE = "import os, sys; print(os.path.realpath(sys._base_executable), *sys.version_info[:3])"


def folders(environ: Mapping[str, str]) -> list[str]:
    """Where interpreters may be."""
    pyenv = os.path.join(environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
    versions = sorted(os.listdir(pyenv)) if os.path.isdir(pyenv) else []
    return [*environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin",
            *[os.path.join(pyenv, version, "bin") for version in versions]]


def interpreters(places: Iterable[str]) -> dict[str, str]:
    """Version -> path of each interpreter, the oldest first; of two with one version the first found."""
    found: dict[tuple[int, ...], str] = {}
    for place in dict.fromkeys(places):
        for name in sorted(filter(NAME.fullmatch, os.listdir(place) if os.path.isdir(place) else [])):
            answer = _ask(os.path.join(place, name))
            if answer is not None:
                version, path = answer
                if version >= OLDEST:
                    found.setdefault(version, path)
    return {".".join(map(str, version)): found[version] for version in sorted(found)}


def _ask(path: str) -> tuple[tuple[int, ...], str] | None:
    try:
        done = subprocess.run([path, "-I", "-S", "-c", PROBE], capture_output=True, text=True, timeout=20,
                              check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.fullmatch(r"(/.*) (\d+) (\d+) (\d+)\n", done.stdout)
    return ((int(match[2]), int(match[3]), int(match[4])), match[1]) if match else None


def prepare(version: str, path: str, hashes: str) -> str:
    """The interpreter of an environment with the package, the quick tests' tools and ``hashes``,
    which is passlib or libpass.  Raises subprocess.CalledProcessError."""
    place = os.path.join(ENVIRONMENTS, f"{version}-{hashes}")
    python = os.path.join(place, "bin", "python")
    ready = os.path.join(place, "ready")
    if not _newer(ready, os.path.join(HOUSE, "setup.cfg")):
        # our own pip: a distribution may leave ensurepip out
        subprocess.run([path, "-m", "venv", "--clear", "--without-pip", place], check=True)
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", python]
        subprocess.run([*pip, "install", "-e", ".[quick]"], cwd=HOUSE, check=True)
        if hashes != "passlib":
            subprocess.run([*pip, "uninstall", "-y", "passlib"], check=True)
            subprocess.run([*pip, "install", hashes], check=True)
        with open(ready, "w", encoding="ascii"):
            pass
    return python


def _newer(path: str, than: str) -> bool:
    return os.path.exists(path) and os.stat(path).st_mtime >= os.stat(than).st_mtime


def main() -> int:
    own = _ask(sys.executable)
    failed = []
    for version, path in interpreters(folders(os.environ)).items():
        again = own is not None and path == own[1]
        hashes = "libpass" if again else "passlib"
        words = sys.argv[1:] or (HASHING if again else ())
        start = time.monotonic()
        print(f"Python {version} ({path}) with {hashes}", flush=True)
        try:
            python = prepare(version, path, hashes)
            subprocess.run([python, "-m", "pytest", "-n", "2", "-rs", "-p", "no:cacheprovider", "-m", QUICK,
                            *words], cwd=HOUSE, check=True)
        except subprocess.CalledProcessError:
            failed.append(version)
        print(f"Python {version}: {'failed' if version in failed else 'passed'}, "
              f"{time.monotonic() - start:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
