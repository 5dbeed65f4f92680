"""Imports go down only; the parts do not import each other; the pure ones stay pure."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import plain_environ

pytestmark = pytest.mark.source

HOUSE = Path(__file__).resolve().parents[2] / "courierpy"

# The floor of each room; a module may import from its own room and from lower floors.
FLOORS = {"model": 0, "system": 1, "message": 2, "maildir": 2, "auth": 2, "imap": 3, "smap": 4, "listener": 3,
          "login": 3, "lmtp": 3, "hibernate": 4, "tcpd": 5, "imaplogin": 5, "doorway": 5, "imapd": 5,
          "lmtpd": 5, "mtaserve": 5, "deliver": 5, "delivering": 5, "preload": 5, "rehearsal": 5,
          "sessions": 5, "readiness": 5, "services": 5, "admin": 6, "testing": 7, "__main__": 7,
          "__init__": -1, "mta": 4, "smmapd": 5, "returning": 5, "forwarding": 5, "backup": 3, "entering": 5,
          "letters": 5, "pop3": 3, "pop3d": 5, "pop3login": 5, "newmail": 2, "notifyd": 5, "notifyserve": 5,
          "sidebyside": 5}
MOST_LINES = 500
MOST_METHODS = 20
WHY = r"\bmethods?\b"                  # in the docstring of a class that has more
SIBLINGS = (2, 3)                      # floors whose rooms do not import each other
PURE = ("model", "message", "imap/grammar", "imap/view.py")
IMPURE_MODULES = {"os", "socket", "select", "subprocess", "signal"}
# heavy: loaded in the function that needs them
HEAVY = {"typing", "dataclasses", "logging", "argparse", "email", "ssl", "asyncio", "random", "threading",
         "tempfile", "shutil", "pathlib", "subprocess", "passlib", "pyinotify", "sqlite3",
         "ldap3", "psycopg", "pymysql"}
FREE = {"admin", "testing", "auth/authpipe.py"}


def room(path: Path) -> str:
    first = path.relative_to(HOUSE).parts[0]
    return first.removesuffix(".py")


@cache
def imports(path: Path, types: bool = False) -> list[tuple[str, bool]]:
    """(module, at the top level) of every import outside TYPE_CHECKING; ``types``: of those inside."""
    found = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                if types:
                    visit(child, top)
                continue
            if types and isinstance(child, (ast.Import, ast.ImportFrom)) and isinstance(node, ast.Module):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                inner = [f"{child.module}.{alias.name}" for alias in child.names]
                modules = [name for name in inner if child.module == HOUSE.name
                           or (HOUSE.parent / name.replace(".", "/")).with_suffix(".py").exists()]
                found.extend((name, top) for name in modules or [child.module])
            visit(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))

    visit(ast.parse(path.read_text()), True)
    return found


FILES = sorted(HOUSE.rglob("*.py"))


def test_the_picture_names_each_room() -> None:
    rows = re.findall(r"^\| [^|]*\| (`[^|]*) \|", (HOUSE.parent / "ARCHITECTURE.md").read_text(), re.M)
    named = re.findall(r"`(\w+)(?:\.py|/)`", " ".join(rows))
    assert sorted(named) == sorted(room for room in FLOORS if not room.startswith("__"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down(path: Path) -> None:
    own = room(path)
    relative = str(path.relative_to(HOUSE))
    for module, top in imports(path):
        words = module.split(".")
        if words[0] == "courierpy":
            if len(words) == 1 or words[1] in ("__version__",):
                continue
            other = words[1]
            assert FLOORS[other] <= FLOORS[own], f"{relative} imports upward: {module}"
            if FLOORS[own] in SIBLINGS and other != own:
                assert FLOORS[other] < FLOORS[own], f"{relative} imports sideways: {module}"
        else:
            if relative.startswith(PURE):
                assert words[0] not in IMPURE_MODULES, f"{relative} is pure but imports {module}"
            if top and own not in FREE and relative not in FREE:
                assert words[0] not in HEAVY, f"{relative} loads {module} at its top"


def test_type_only_imports_go_down_too() -> None:
    for path in FILES:
        for module, _ in imports(path, types=True):
            words = module.split(".")
            if words[0] == "courierpy" and words[1] != "__version__":
                assert FLOORS[words[1]] <= FLOORS[room(path)], f"{path.relative_to(HOUSE)}: {module}"


# what each file of these gets in its hands: a command, an extension, and what a session is made of
SESSION = "courierpy.imap.session"


@pytest.mark.parametrize("folder", ["courierpy", "bench"])
def test_no_circle(folder: str) -> None:
    """Nor one that types alone close, but for the session that whoever acts for it names."""
    arrows: dict[str, set[str]] = {}
    for path in sorted((HOUSE.parent / folder).rglob("*.py")):
        name = ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__")
        arrows[name] = {module for module, _ in imports(path)} \
            | {module for module, _ in imports(path, types=True) if module != SESSION}
    while arrows:
        done = [name for name, targets in arrows.items() if targets.isdisjoint(arrows.keys() - {name})]
        assert done, f"in circles, or above one: {sorted(arrows)}"
        for name in done:
            del arrows[name]


def test_no_file_hides_another() -> None:
    """What has more lines, or more methods and no word why, has a noun in it that wants a file or a class."""
    for path in FILES:
        text = path.read_text()
        assert text.count("\n") <= MOST_LINES, f"{path.relative_to(HOUSE)}: {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(one, ast.FunctionDef) for one in node.body)
                assert methods <= MOST_METHODS or re.search(WHY, ast.get_docstring(node) or ""), \
                    f"{path.relative_to(HOUSE)}: {node.name} has {methods} methods"


def test_no_name_of_the_standard_library() -> None:
    for path in FILES:
        if path.parent == HOUSE and path.stem != "__init__":
            assert path.stem not in sys.stdlib_module_names


def test_late_imports_are_loaded_before_the_login() -> None:
    """A session of the listener may not be able to read the library: it became the user."""
    program = "import sys\nfrom courierpy import preload\npreload.preload()\nprint(*sys.modules)\n" \
              "assert 'pyinotify' not in sys.modules\n"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                            env=plain_environ()).stdout.split()
    assert "courierpy.imap.session" in loaded
    rooms = {"model", "message", "maildir", "imap"}
    for path in FILES:
        if room(path) in rooms:
            for module, _ in imports(path):
                # with the certificates, before any connection; in the keeper, which does what it is for
                if module in ("ssl", "pyinotify", "courierpy.__version__"):
                    continue
                assert module in loaded or module.partition(".")[0] != "courierpy" \
                    and module.rpartition(".")[0] in loaded, f"{path.name} loads {module} late"


def test_a_short_session_loads_what_it_uses_and_no_more() -> None:
    """What it uses is loaded first, and lies together in the memory that sessions share until they write."""
    program = "import sys\nfrom courierpy import rehearsal\n" \
              "rehearsal.load({}, True, 'IMAP')\nprint(*sys.modules)\n"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                            env=plain_environ()).stdout.split()
    assert "courierpy.imap.commands.cmd_select" in loaded
    assert "courierpy.imap.search" not in loaded
    assert "webencodings" not in loaded
