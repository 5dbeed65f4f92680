"""Each variable of the environment that the code names stands in one of the two tables."""
from __future__ import annotations

import ast
from pathlib import Path

from courierpy.system import environ, settings

HOUSE = Path(environ.__file__).resolve().parents[1]
KNOWN = {variable.name for variable in environ.TABLE} | {setting.name for setting in settings.TABLE}
ENVIRONMENTS = {"environ", "own"}              # what the code calls an environment


def named(tree: ast.AST) -> set[str]:
    """The names that are looked up in, or put into, something called ``environ``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            holder, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args \
                and node.func.attr in ("get", "setdefault", "pop"):
            holder, key = node.func.value, node.args[0]
        else:
            continue
        name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
        if name not in ENVIRONMENTS:
            continue
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.add(key.value)
        elif isinstance(key, ast.JoinedStr) and isinstance(key.values[0], ast.Constant):
            found.add(f"{key.values[0].value}*")
    return found


def test_every_variable_is_known() -> None:
    families = tuple(name[:-1] for name in KNOWN if name.endswith("*"))
    unknown = {f"{path.relative_to(HOUSE)}: {name}" for path in HOUSE.rglob("*.py")
               for name in named(ast.parse(path.read_text()))
               if name not in KNOWN and not name.startswith(families)}
    assert not unknown


def test_names_are_there_once() -> None:
    names = [variable.name for variable in environ.TABLE] + [setting.name for setting in settings.TABLE]
    assert sorted(names) == sorted(set(names))
