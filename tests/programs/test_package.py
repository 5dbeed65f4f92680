"""What is released: sdist and wheel, the package for Debian, the container, and what shells complete."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy import __version__
from courierpy.admin import SUBCOMMANDS, completion, mkcert
from tests.conftest import REPO, need, plain_environ
from tools import manual

DEADLINE = 60.0                        # seconds


def python(*words: str) -> str:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, cwd=REPO,
                          timeout=DEADLINE, env=plain_environ()).stdout


def tracked(folder: Path) -> list[str]:
    """What git knows of, and what it does not ignore."""
    return subprocess.run(["git", "ls-files", "-c", "-o", "--exclude-standard"], cwd=folder, text=True,
                          check=True, capture_output=True, timeout=DEADLINE).stdout.splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "clone"
    for name in tracked(REPO):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, folder / name)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.server
@pytest.mark.timeout(1200)
def test_sdist_and_wheel(clone: Path) -> None:
    """The wheel is made of the sdist, and tried where nothing else is (tools/smoke.py)."""
    pytest.importorskip("build")
    pytest.importorskip("twine")
    names = {str(path.relative_to(clone)) for path in clone.rglob("*") if path.is_file()}
    done = subprocess.run(["make", "packages", f"BIN={Path(sys.executable).parent}"], cwd=clone, text=True,
                          capture_output=True, timeout=1100, check=False,
                          env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works in a fresh environment" in done.stdout
    with tarfile.open(clone / "dist" / f"courierpy-{__version__}.tar.gz") as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert names - packed == set()


@pytest.mark.server
@pytest.mark.timeout(1700)
def test_compiled_wheel(clone: Path, tmp_path: Path) -> None:
    """What COURIERPY_COMPILED=1 makes passes the tests of courierpy/message, too."""
    compiler = shlex.split(sysconfig.get_config_var("CC"))[0]
    if shutil.which(compiler) is None or not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        pytest.skip(f"{compiler} or Python.h is not installed")
    quick = tmp_path / "cc"            # which takes a fraction of the time where it optimizes nothing
    quick.write_text(f'#!/bin/sh\nexec {compiler} "$@" -O0\n')
    quick.chmod(0o755)
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps",
                           "--disable-pip-version-check", "-w", tmp_path, clone], text=True, check=False,
                          capture_output=True, timeout=800,
                          env=plain_environ(COURIERPY_COMPILED="1", CC=str(quick)))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (wheel,) = tmp_path.glob("*.whl")
    shutil.rmtree(clone / "courierpy")
    shutil.unpack_archive(wheel, clone, "zip")
    program = ("import sys, pytest; from courierpy.message import mime, searchtext; "
               "assert not mime.__file__.endswith('.py') and not searchtext.__file__.endswith('.py'); "
               "sys.exit(pytest.main(sys.argv[1:]))")
    # a folder of its own: else it closes pytest's own, which tests beside have opened for an account
    done = subprocess.run([sys.executable, "-c", program, "tests/message", "-p", "no:cacheprovider",
                           f"--basetemp={tmp_path / 'base'}"], cwd=clone, text=True,
                          capture_output=True, timeout=800, check=False,
                          env=plain_environ(PYTHONPATH=str(clone)))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.server
@pytest.mark.timeout(600)
def test_package_for_debian(clone: Path) -> None:
    """What dpkg-buildpackage makes has the programs, their pages, the settings and the units."""
    for program in ("dpkg-buildpackage", "dh", "pybuild"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    done = subprocess.run(["dpkg-buildpackage", "-us", "-uc", "-b"], cwd=clone, text=True,
                          capture_output=True, timeout=500, check=False,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (package,) = clone.parent.glob("*.deb")
    listed = subprocess.run(["dpkg-deb", "-c", package], text=True, check=True, capture_output=True,
                            timeout=DEADLINE).stdout
    for program in manual.programs() - {"courierpy"}:
        assert f" ./usr/lib/courierpy/bin/{program}\n" in listed
        assert f" ./usr/share/man/man8/{program}.courierpy.8.gz" in listed
    for name in ("usr/bin/courierpy", "etc/courierpy/imapd", "etc/courierpy/imapd-ssl",
                 "lib/systemd/system/courierpy.service", "usr/lib/systemd/user/imapd.socket"):
        assert f" ./{name}\n" in listed


# -- the command, and shells

def test_python_m_courierpy() -> None:
    assert python("-m", "courierpy", "--version") == f"courierpy {__version__}\n"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "courierpy.bash"
    path.write_text(python("-m", "courierpy", "completion", "bash"))
    return path


@pytest.mark.parametrize(("words", "found"), [
    (["courierpy", "reind"], ["reindex"]), (["courierpy", "user", "a"], ["add"]),
    (["courierpy", "user", "-f", "x", "passwd", "--c"], ["--clear"]),
    (["courierpy", "user", "add", "--ui"], ["--uid"]), (["courierpy", "serve", "--po"], ["--port", "--pop3"]),
    (["courierpy", "help", "mkc"], ["mkcert"]), (["courierpy", "--v"], ["--version"]),
    (["courierpy", "reindex", "MANIFEST."], ["MANIFEST.in"]), (["courierpy", "nosuch", "--x"], [])])
def test_bash(words: list[str], found: list[str], script: Path) -> None:
    program = (f'source "{script}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _courierpy; '
               'printf "%s\\n" "${COMPREPLY[@]}"')
    need("bash")
    done = subprocess.run(["bash", "--norc", "-c", program, "bash", *words], capture_output=True, text=True,
                          check=True, cwd=REPO, timeout=DEADLINE)
    assert done.stdout.split() == found and done.stderr == ""


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_all_subcommands_and_their_options_are_completed(shell: str) -> None:
    text = completion.SHELLS[shell]()
    for name in SUBCOMMANDS:
        assert re.search(rf"\b{name}\b", text)
    for words, options in completion.commands().items():
        assert options, words
        for option in options:
            for flag in option.flags:
                assert (flag.lstrip("-") if shell == "fish" else flag) in text
    assert "layout" in text and "hash" in text


def test_shells_find_the_files_that_ask_for_it() -> None:
    for path in sorted((REPO / "etc" / "completions").iterdir()):
        assert re.search(r"courierpy completion (bash|zsh|fish)", path.read_text())
        assert f"etc/completions/{path.name}" in (REPO / "setup.cfg").read_text()


# -- the container

def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Containerfile."""
    text = re.sub(r"^#.*\n", "", (REPO / "Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def test_the_container_is_sound() -> None:
    found = instructions()
    assert {word for word, _ in found} <= {"FROM", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE",
                                           "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}
    for word, rest in found:
        if word == "FROM":                             # a version, and no host
            assert re.fullmatch(r"python:3\.\d+-slim( AS \w+)?", rest)
        if word == "COPY" and "--from" not in rest:
            assert (REPO / rest.split()[0]).exists()
        if word == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists/*" in rest
    last = dict(found)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert [rest for word, rest in found if word == "VOLUME"] == ["/mail"]
    assert last["EXPOSE"] in last["HEALTHCHECK"]
    assert found[-1][0] == "ENTRYPOINT" and last["ENTRYPOINT"].startswith('["courierpy", "serve"')
    (program,) = re.findall(r'"-c", "(.*)"\]', last["HEALTHCHECK"])
    compile(program, "HEALTHCHECK", "exec")


def test_settings_of_the_page_are_enough(tmp_path: Path) -> None:
    text = "\n".join(re.findall(r"printf '(.*)\\n' >", (REPO / "docs" / "container.md").read_text()))
    (tmp_path / "imapd").write_text(text.replace("\\n", "\n").replace("/mail", str(tmp_path)) + "\n")
    (tmp_path / "userdb").touch(0o600)
    need("openssl")
    mkcert.make(str(tmp_path / "imapd.pem"), "localhost")
    # which fails where a setting is wrong
    assert 'PORT="1143"\n' in python("-m", "courierpy", "config", "-n", "-C", str(tmp_path / "imapd"))
