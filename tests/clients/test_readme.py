"""The README's first lines, as they stand there, on a clean clone and with the clients' own defaults."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from courierpy.admin import demo
from tests.conftest import REPO, free_port, listens, need

pytestmark = pytest.mark.clients

PORT = "1143"


def block(heading: str) -> list[str]:
    """The commands of the first block below a heading, without their remarks."""
    text = (REPO / "README.md").read_text().partition(f"\n## {heading}\n")[2]
    return [line.split("   #")[0].rstrip() for line in text.split("```")[1].strip().splitlines()]


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """What is there now, in a folder that everybody may enter and that has blanks in its name."""
    above = Path(tempfile.mkdtemp(prefix="courierpy clean clone "))
    above.chmod(0o755)
    folder = above / "courierpy"
    subprocess.run(["git", "clone", "-q", str(REPO), str(folder)], check=True, timeout=60)
    changed = subprocess.run(["git", "ls-files", "-m", "-o", "--exclude-standard"], cwd=REPO, text=True,
                             check=True, capture_output=True).stdout.splitlines()
    for name in changed:
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((REPO / name).read_bytes())
    yield folder
    shutil.rmtree(above)


@pytest.fixture(scope="module")
def served(clone: Path) -> Iterator[str]:
    """The port on which ``make serve`` of the README serves."""
    port = PORT if not listens(int(PORT)) else str(free_port())
    words = ["make", "serve"] + ([f"PORT={port}"] if port != PORT else [])
    home = clone.parent / "home"
    home.mkdir()
    process = subprocess.Popen(words, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True, env={**os.environ, "HOME": str(home)})
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("listening on"):
                break
        else:
            pytest.fail("make serve ended:\n" + "".join(said))
        assert f"127.0.0.1 port {port}" in said[-1]
        yield port
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(20)


def test_the_block_is_what_is_run_here() -> None:
    assert [line.split()[0] for line in block("Try it")] == ["git", "make", "curl", "mutt", ".venv/bin/imapd"]


def test_curl(served: str, clone: Path) -> None:
    need("curl")
    line = next(line for line in block("Try it") if line.startswith("curl"))
    done = subprocess.run(line.replace(PORT, served), shell=True, cwd=clone, capture_output=True, text=True,
                          timeout=60, check=True)
    assert "Notes on the engine" in done.stdout


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt(program: str, served: str, clone: Path, tmp_path: Path) -> None:
    need(program)
    line = next(line for line in block("Try it") if line.startswith("mutt"))
    line = line.replace(PORT, served).replace("mutt", program, 1)
    child = pexpect.spawn("/bin/sh", ["-c", line], cwd=str(clone), timeout=40, encoding="utf-8",
                          codec_errors="replace", dimensions=(24, 100),
                          env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm",
                               "LANG": "C.UTF-8"})
    try:
        # questions of a first start, each with its answer as the README tells it
        for _ in range(6):
            asked = child.expect([r"\(r\)eject", r"[Pp]assword", r"does not exist. Create it",
                                  "Notes on the engine"])
            if asked == 3:
                break
            child.send(("o", "demo\r", "n")[asked])
        else:
            pytest.fail("the mailbox was not shown")
        child.send("q")
        time.sleep(0.5)
    finally:
        child.close(force=True)


def test_imap_on_this_terminal(served: str, clone: Path) -> None:
    """The last line, with a Maildir that is there: the demo's own may be another user's."""
    maildir = clone.parent / "Maildir"
    subprocess.run([str(clone / ".venv/bin/courierpy"), "maildirmake", str(maildir)], check=True, timeout=30)
    line = block("Try it")[-1].replace("~/Maildir", f"'{maildir}'")
    done = subprocess.run(line, shell=True, cwd=clone, input=b"a SELECT INBOX\r\nb LOGOUT\r\n",
                          capture_output=True, timeout=30, check=True)
    assert b"a OK [READ-WRITE]" in done.stdout


def test_a_taken_port_is_one_line(served: str, clone: Path) -> None:
    done = subprocess.run(["make", "serve", f"PORT={served}"], cwd=clone, capture_output=True, text=True,
                          timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if not re.match(r"make(\[\d+\])?:", line)]
    assert done.returncode and len(said) == 1
    assert re.search(rf"port {served} .*PORT=", said[0])


def test_a_python_that_is_too_old_is_one_line(clone: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\ncase $1 in -V) echo Python 3.9.2;; *) exit 1;; esac\n")
    old.chmod(0o755)
    done = subprocess.run(["make", "-B", "serve", f"PYTHON={old}"], cwd=clone, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode
    assert "needs Python 3.11 or later" in done.stdout and "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root's demo has another user's account")
def test_a_demo_of_root_is_where_its_account_can_go(tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o700)
    assert demo.reachable(str(tmp_path / "demo")) == "/var/tmp/courierpy-demo"
    assert f"{tmp_path} lets in none but its owner" in capsys.readouterr().out
    assert demo.reachable("/var/tmp/x") == "/var/tmp/x"


def test_installed_below_a_prefix(clone: Path) -> None:
    """What make install leaves is enough: the programs run from another folder, without the clone."""
    prefix = clone.parent / "a prefix"
    subprocess.run(["make", "install", f"PREFIX={prefix}"], cwd=clone, check=True, capture_output=True,
                   timeout=300)
    maildir = clone.parent / "another Maildir"
    environ = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": str(clone.parent)}
    subprocess.run(["maildirmake", str(maildir)], env=environ, cwd="/", check=True, timeout=30)
    done = subprocess.run(["imapd", str(maildir)], env=environ, cwd="/", input=b"a LOGOUT\r\n",
                          capture_output=True, check=True, timeout=30)
    assert b"* PREAUTH" in done.stdout and b"a OK" in done.stdout
    assert (prefix / "etc" / "courierpy" / "imapd").is_file()
    served = subprocess.run(["courierpy", "serve", "-C", "/nowhere"], env=environ, cwd="/", text=True,
                            capture_output=True, check=False, timeout=30)
    assert served.returncode == 1 and "/nowhere" in served.stderr
