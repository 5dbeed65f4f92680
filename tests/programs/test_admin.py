"""The courierpy command and what all programs say of themselves: help, version, errors that help."""
from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy import __version__
from courierpy.admin import SUBCOMMANDS, explain, maildirmake, nearest
from tests.conftest import account_ids, fill, plain_environ

PROGRAMS = {"couriertcpd": "courierpy.tcpd", "imaplogin": "courierpy.imaplogin",
            "imapd": "courierpy.imapd", "courierpy": "courierpy.admin"}


def code(program: str) -> str:
    """What its file in bin/ does."""
    entry = "run" if program in PROGRAMS else "run_by_name"
    module = PROGRAMS.get(program, "courierpy.admin")
    return f"import sys; sys.argv[0] = {program!r}; from {module} import {entry}; {entry}()"


def start(program: str, *words: str, cwd: Path | None = None, text: str = "", stdout: int = subprocess.PIPE,
          **environ: str) -> subprocess.CompletedProcess[str]:
    """A program to its end; without a terminal, on ``text`` as its input."""
    return subprocess.run([sys.executable, "-c", code(program), *words], cwd=cwd,
                          input=text, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=60, env=plain_environ(**environ))


def courierpy(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return start("courierpy", *words, cwd=cwd)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_version(program: str) -> None:
    for word in ("--version", "-V"):
        done = start(program, word)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"courierpy {__version__}\n", "")
    for word in ("--help", "-h"):
        done = start(program, word)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: {program} ")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_a_subcommand(name: str) -> None:
    answers = {(done.returncode, done.stdout, done.stderr)
               for done in (courierpy(name, "--help"), courierpy("help", name))}
    ((status, out, error),) = answers
    assert (status, error) == (0, "")
    assert f"courierpy {name}" in out
    done = courierpy(name, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"courierpy {__version__}\n", "")


def test_version_of_maildirmake() -> None:
    done = start("maildirmake", "-V")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"courierpy {__version__}\n", "")


def test_no_command_tells_the_usage() -> None:
    done = courierpy()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")
    assert courierpy("help").stdout == courierpy("--help").stdout
    assert courierpy("version").stdout == f"courierpy {__version__}\n"


@pytest.mark.parametrize(("word", "meant"), [
    ("reidnex", "reindex"), ("Serve", "serve"), ("maildirmk", "maildirmake"), ("mkcret", "mkcert"),
    ("covnert", "convert")])
def test_an_unknown_command_and_the_nearest(word: str, meant: str) -> None:
    done = courierpy(word)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{word!r}; did you mean {meant!r}?" in done.stderr


def test_an_unknown_command_that_is_near_to_none() -> None:
    assert nearest("xyzzy", SUBCOMMANDS) is None
    done = courierpy("xyzzy\n\033[2J")
    assert done.returncode == 2
    assert "did you mean" not in done.stderr
    assert "\033" not in done.stderr
    assert '"courierpy help"' in done.stderr


BAD = ("missing", "missing/below", "file", "file/below", "loop", "x" * 300, "with\nline")
# that name no file; and the tools for Maildirs: tests/programs/test_maildirs.py
NO_PATH = ("authpasswd", "completion", "pw2userdb", "userdbpw", "version", "purge", "touch", "folders",
           "path", "dump", "df", "tour", "unexpunge", "expire", "check", "withlock",
           "backup", "restore")
WORDS = {"serve": ["-C", "{}"], "config": ["-C", "{}"], "user": ["-C", "{}", "list"],
         "authtest": ["-C", "{}", "ann"], "maildirmake": ["{}/deep/er"], "demo": ["{}/deep/er"],
         "mkcert": ["{}/deep/er.pem"], "convert": ["--from", "dovecot", "{}"], "reindex": ["{}"],
         "deliverquota": ["{}"], "quota": ["{}"], "maildiracl": ["-list", "{}", "INBOX"],
         "maildirkw": ["-L", "{}"], "maildirwatch": ["{}", "true"],
         "lockmail": ["-t", "0", "{}/deep/er", "true"],
         "sharedindexsplit": ["{}"], "sharedindexinstall": ["{}"], "makeimapaccess": ["-C", "{}"],
         "shutdown": ["-C", "{}"], "motd": ["-C", "{}"], "stats": ["-C", "{}"],
         "authenumerate": ["-C", "{}"],
         "userdb": ["-f", "{}/deep/er", "ann", "set", "a=b"], "makeuserdb": ["-f", "{}"],
         "mkimapdcert": ["-C", "{}"], "mkpop3dcert": ["-C", "{}"],
         "autoconfig": ["-C", "{}", "example.org"],
         "who": ["-C", "{}"], "kick": ["-C", "{}", "1"], "deny": ["-C", "{}", "ann"]}


def status_of(name: str, path: str) -> int:
    """The exit status: Courier's, or of sysexits.h."""
    if name == "quota":
        return os.EX_TEMPFAIL if path in ("loop", "x" * 300) else os.EX_NOINPUT
    return {"deliverquota": os.EX_TEMPFAIL, "lockmail": os.EX_TEMPFAIL, "sharedindexsplit": 2}.get(name, 1)


@pytest.mark.parametrize(("name", "path"), [
    (name, path) for name in SUBCOMMANDS if name not in NO_PATH for path in BAD
    if (name, path) != ("config", "file")                    # it tells all that is wrong: test_config.py
    if name != "demo" or path.startswith(("file", "loop", "x"))])            # demo makes what is missing
def test_a_path_that_cannot_be(name: str, path: str, tmp_path: Path) -> None:
    """No traceback; one line, which names the path."""
    (tmp_path / "file").write_text("no assignment\n")
    (tmp_path / "loop").symlink_to("loop")
    done = courierpy(name, *(word.format(path) for word in WORDS[name]), cwd=tmp_path)
    assert done.returncode == status_of(name, path), done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("courierpy")
    assert path.replace("\n", "\\n") in line


@pytest.mark.parametrize(("words", "status", "told"), [
    (["demo", ""], 1, "the name of a folder was expected"), (["maildirmake", ""], 1, "name of a directory"),
    (["reindex", ""], 1, "'': No such file or directory (the name of a file or directory was expected"),
    (["maildirmake", "-f", "", "box"], 1, "-f: a folder's name was expected, as Work"),
    (["maildirmake", "-f", "a..b", "box"], 1, "one as Work or Work.2024 was expected"),
    (["demo", "x", "--serve", "--port", "99999"], 2, "'99999': a port from 1 to 65535 was expected"),
    (["demo", "x", "--serve", "--port", "-5"], 2, "'-5': a port from 1 to 65535"),
    (["serve", "-C", "empty", "--port", "abc"], 2, "no such service: abc; a port from 1 to 65535"),
    (["serve", "-C", "empty", "--port", "70000"], 2, "bad port: '70000'; one from 1 to 65535"),
    (["mkcert", "c.pem", "--days", "0"], 2, "'0': a number from 1 to 36500 was expected"),
    (["mkcert", "c.pem", "--name", "a/b=c"], 2, "--name 'a/b=c': a host name"),
    (["mkcert", "c.pem", "--name", "x" * 65], 2, "at most 64 characters"),
    (["user", "-f", "link", "list"], 1, "link: Too many levels of symbolic links (a symbolic link, which"),
    (["user", "-f", "loop", "list"], 1, "in a circle"),
    (["user", "-f", "userdb", "passwd", "ann"], 1, "a password in UTF-8 was expected"),
    (["user", "-f", "userdb", "list"], 0, "userdb:2: no account: a name, a tab and FIELD=VALUE"),
    (["user", "-f", "empty", "list"], 0, "empty: no accounts in it: courierpy user add NAME makes one"),
])
def test_wrong_words_and_what_was_expected(words: list[str], status: int, told: str, tmp_path: Path) -> None:
    fill(tmp_path / "box", 0)
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("userdb")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "userdb").write_text("ann\tuid=1000|gid=1000|home=/tmp\nno tab in it\n")
    (tmp_path / "userdb").chmod(0o600)
    done = subprocess.run([sys.executable, "-m", "courierpy", *words], cwd=tmp_path,
                          input=b"\xff\xe9\n", capture_output=True, env=plain_environ(), timeout=60,
                          check=False)
    assert done.returncode == status
    assert told in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["help", "config"], ["config"], ["config", "-C", "/dev/null"]])
def test_an_output_that_is_full_or_closed(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = start("courierpy", *words, stdout=full.fileno())
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert done.returncode == 1
    reading, writing = os.pipe()
    os.close(reading)
    done = start("courierpy", *words, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_what_is_told_of_an_error(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "a" / "b", f"its directory {tmp_path}/a is not there"),
                       (tmp_path / "a", "look at the spelling")):
        with pytest.raises(OSError) as caught:
            path.read_bytes()
        line = explain(caught.value)
        assert line.startswith(f"{path}: No such file or directory (")
        assert told in line
    assert explain(OSError(28, "No space left on device", "tmp/x"), "box").startswith("box/tmp/x: No space ")
    assert explain(OSError(28, "No space left on device")).startswith("No space left on device (make room")
    assert explain(OSError(2, "No such file", "box"), "box").startswith("box: No such file")


@pytest.mark.parametrize("words", [
    ["courierpy", "demo", "box"], ["courierpy", "reindex", "box"], ["courierpy", "maildirmake", "box"],
    ["courierpy", "convert", "--from", "dovecot", "box"], ["courierpy", "mkcert", "box"],
    ["courierpy", "user", "-f", "box", "list"], ["imapd", "box"], ["maildirmake", "box"]])
def test_in_a_directory_that_was_removed(words: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(["/bin/sh", "-c", 'rmdir "$0"; exec "$@"', str(gone), sys.executable, "-P", "-c",
                           code(words[0]), *words[1:]], cwd=gone, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, env=plain_environ(), timeout=60,
                          check=False)
    assert done.returncode
    assert "Traceback" not in done.stderr
    assert "has been removed" in done.stderr or words[0] == "imapd" and "no Maildir at box" in done.stdout


# -- maildirmake

@pytest.mark.parametrize("program", ["courierpy", "maildirmake"])
def test_maildirmake(program: str, tmp_path: Path) -> None:
    words = ["maildirmake"] if program == "courierpy" else []
    done = start(program, *words, "Maildir", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Maildir: made\n")
    for part in ("", "cur", "new", "tmp"):
        found = (tmp_path / "Maildir" / part).stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == os.getuid()
    done = start(program, *words, "-f", "Work.2024", "Maildir", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Maildir: folder Work.2024 made\n")
    assert (tmp_path / "Maildir" / ".Work.2024" / "maildirfolder").exists()
    for again in ("Maildir", "-f Work.2024 Maildir", "-f .x Maildir", "-f a/b Maildir"):
        done = start(program, *words, *again.split(), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, ""), again
        assert len(done.stderr.splitlines()) == 1, again


@pytest.mark.parametrize(("option", "told"), [
    ("-s write", "a folder was expected"), ("--add a=b", "NAME=PATH was expected")])
def test_maildirmake_refuses_what_it_cannot(option: str, told: str, tmp_path: Path) -> None:
    done = start("maildirmake", *option.split(), "Maildir", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert not (tmp_path / "Maildir").exists()


def modes(path: Path) -> list[str]:
    return [f"{stat.S_IMODE((path / part).stat().st_mode):o}" for part in ("", "cur", "new", "tmp")]


@pytest.mark.parametrize(("option", "found"), [
    ("", "755 755"), ("-s read", "755 755"), ("-s write", "1755 1777"), ("-s group", "750 750"),
    ("-s write,group", "1750 1770"), ("-s group,write", "1755 1777"), ("-s read,write", "1755 1777"),
    ("-s read,group", "750 750")])
def test_maildirmake_of_what_is_shared(option: str, found: str, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Courier's modes."""
    monkeypatch.chdir(tmp_path)
    assert maildirmake.main(["-S", "team"]) == 0
    assert modes(tmp_path / "team") == ["755", "700", "700", "700"]
    assert maildirmake.main(["-S", *option.split(), "-f", "Pub", "team"]) == 0
    outer, inner = found.split()
    assert modes(tmp_path / "team/.Pub") == [outer, inner, inner, inner]
    with pytest.raises(SystemExit):
        maildirmake.main(["-s", "all", "-f", "x", "team"])


def test_maildirmake_adds_and_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("team", "own"):
        assert maildirmake.main([name]) == 0
    team = tmp_path / "team"

    def run(*words: str) -> int:
        return maildirmake.main([*words, "own"])
    assert run("--add", f"team={team}") == 0
    assert run("--add", f"team={team}") == 2
    assert run("--add", f"a={team}", "--add", f"b={team}") == 0
    for word in ("x", "x=", f"={team}", "x=team", f"x.y={team}", f"x/y={team}", f"x={team}/none"):
        assert run("--add", word) == 1, word
    assert run("--del", "none") == 1
    copy = tmp_path / "own/shared-folders/team/Pub"
    (copy / "cur").mkdir(parents=True)
    (copy / "shared").symlink_to(team)
    assert run("--del", "team") == 0
    assert (tmp_path / "own/shared-maildirs").read_bytes() == b"a\t%s\nb\t%s\n" % ((os.fsencode(team),) * 2)
    assert not copy.parent.exists()
    assert (team / "cur").is_dir()
    assert run("--del", "a", "--del", "b") == 0
    assert (tmp_path / "own/shared-maildirs").read_bytes() == b""


def test_maildirmake_completes_what_is_begun_and_touches_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path / "part", 2)
    (tmp_path / "part" / "tmp").rmdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for name in ("part", "empty"):
        assert start("maildirmake", name, cwd=tmp_path).stdout == f"{name}: completed\n"
        assert {"cur", "new", "tmp"} <= {path.name for path in (tmp_path / name).iterdir()}
    assert len(list((tmp_path / "part" / "new").iterdir())) == 2
    done = start("maildirmake", "other", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]


@pytest.mark.skipif(os.getuid() != 0, reason="what root makes is another user's, or cannot be served")
def test_maildirmake_warns_of_what_is_root_s_but_not_of_a_skeleton(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert maildirmake.main([str(tmp_path / "Mail")]) == 0
    assert "belongs to root" in capsys.readouterr().err
    monkeypatch.setattr(maildirmake, "SKELETON", str(tmp_path))
    assert maildirmake.main([str(tmp_path / "Maildir")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes what is another's")
def test_maildirmake_by_root_makes_it_for_the_owner(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    for above in (home, *list(home.parents)[:3]):
        above.chmod(above.stat().st_mode | 0o055)
    os.chown(home, *account_ids())
    assert start("maildirmake", str(home / "Maildir")).stderr == ""
    assert start("maildirmake", "-f", "x", str(home / "Maildir")).stderr == ""
    for path in (home / "Maildir", *(home / "Maildir").rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == account_ids()
    done = start("maildirmake", str(tmp_path / "roots"))
    assert done.returncode == 0
    assert "chown" in done.stderr


# -- imapd

def imapd(*words: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    return start("imapd", *words, cwd=cwd, **environ)


@pytest.mark.parametrize(("word", "told"), [
    ("Mial", "There is no Maildir at Mial: name another, or make it: courierpy maildirmake Mial"),
    ("file", "file is no directory, and a Maildir is one: name another."),
    ("loop", "loop cannot be entered: Too many levels of symbolic links: a Maildir of your own was "
             "expected."),
    ("a\r\n* b", "There is no Maildir at a??* b: name another, or make it: courierpy maildirmake a??* b")])
def test_imapd_without_a_maildir(word: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    done = imapd(word, cwd=tmp_path, AUTHENTICATED="demo")
    assert (done.returncode, done.stdout) == (1, f"* BYE [ALERT] {told}\n")
    done = imapd("elsewhere", cwd=tmp_path, AUTHENTICATED="demo", MAILDIR=word)
    assert (done.returncode, done.stdout) == (1, f"* BYE [ALERT] {told}\n")


def test_imapd_with_an_option_that_is_none(tmp_path: Path) -> None:
    done = imapd("--hepl", cwd=tmp_path, AUTHENTICATED="demo")
    assert (done.returncode, done.stdout) == (
        2, "* BYE [ALERT] There is no option --hepl; imapd --help tells what there is.\n")
    fill(tmp_path / "-odd", 1)                     # a Maildir of such a name is one
    assert imapd("-odd", cwd=tmp_path, AUTHENTICATED="demo").stdout.startswith("* PREAUTH ")


def test_behind_a_login_the_client_reads_no_path_and_the_log_does(tmp_path: Path) -> None:
    done = imapd("secret/place", cwd=tmp_path, AUTHENTICATED="demo", IMAPLOGINTAG="a", TCPREMOTEIP="::1",
                 TCPREMOTEPORT="1")
    assert done.returncode == 1
    assert done.stdout.startswith("* BYE [ALERT] Your mailbox cannot be opened")
    assert "secret" not in done.stdout
    assert f"chdir {tmp_path}/secret/place: No such file or directory" in done.stderr
    assert "maildirmake" in done.stderr
