"""Access rules by address: ``KEY<TAB>allow[,VAR=value...]`` or ``KEY<TAB>deny``.

The single most specific record decides; nothing found means allowed.  Text
files are read as they are, a ``.dat`` through Python's dbm.
"""
from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VARIABLE = re.compile(r""",\s*([^=,\s]+)\s*(?:=\s*("[^"]*"|'[^']*'|[^,]*))?""")


class AccessError(Exception):
    """A rule file that cannot be read; str() names it and the line."""


def load(path: str) -> dict[str, str]:
    """key -> action.  A directory holds files of rules.  Raises AccessError."""
    if path.endswith(".dat") and not os.path.exists(path):
        path = path[:-4]
    if path.endswith(".dat"):
        return _load_database(path)
    rules: dict[str, str] = {}
    for file in _files(path):
        try:
            with open(file, encoding="utf-8") as stream:
                lines = stream.read().splitlines()
        except OSError as error:
            raise AccessError(f"{file}: {error.strerror}; a file of rules, KEY and ACTION in a line, or a "
                              "directory of them was expected") from None
        except UnicodeDecodeError as error:
            raise AccessError(f"{file}: {error}") from None
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            words = line.split(None, 1)
            if len(words) != 2:
                raise AccessError(f"{file}:{number}: KEY and ACTION are expected")
            for key in _keys(words[0], f"{file}:{number}"):
                rules[key] = words[1].strip()
    return rules


def _files(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    return sorted(os.path.join(path, name) for name in os.listdir(path)
                  if not name.startswith(".") and not name.endswith("~"))


def _load_database(path: str) -> dict[str, str]:
    import dbm
    try:
        with dbm.open(path, "r") as database:
            return {_str(key): _str(database[key]) for key in database.keys()}  # noqa: SIM118
    except (dbm.error[0], OSError) as error:
        raise AccessError(f"{path}: {error}") from None


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _keys(key: str, where: str) -> list[str]:
    """A network in CIDR form becomes the prefixes it covers."""
    if "/" not in key:
        return [key]
    import ipaddress
    try:
        network = ipaddress.ip_network(key, strict=False)
    except ValueError as error:
        raise AccessError(f"{where}: {error}") from None
    if network.version == 6:
        step = -(-network.prefixlen // 16) * 16
        return [":" + ":".join(subnet.network_address.exploded.split(":")[:step // 16])
                for subnet in network.subnets(new_prefix=step)]
    step = -(-network.prefixlen // 8) * 8
    return [".".join(str(subnet.network_address).split(".")[:max(1, step // 8)])
            for subnet in network.subnets(new_prefix=max(8, step))]


def _candidates(address: str, port: str) -> Iterator[str]:
    """The keys that may match, the most specific first."""
    address = address.removeprefix("::ffff:")
    if ":" in address:
        import ipaddress
        parts, join = ipaddress.ip_address(address).exploded.split(":"), ":"
        lead = ":"
    else:
        parts, join, lead = address.split("."), ".", ""
    if port:
        yield f"{lead}{join.join(parts)}.{port}"
    for count in range(len(parts), 0, -1):
        yield lead + join.join(parts[:count])
    if port:
        yield f"*.{port}"
    yield "*"


def decide(rules: Mapping[str, str], address: str, port: str = "") -> tuple[bool, dict[str, str]]:
    """(allowed, variables to set)."""
    for key in _candidates(address, port):
        action = rules.get(key)
        if action is not None:
            if action.startswith("deny"):
                return False, {}
            return True, _variables(action)
    return True, {}


def _variables(action: str) -> dict[str, str]:
    found = {}
    for match in _VARIABLE.finditer(action):
        value = (match[2] or "").strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[match[1]] = value
    return found


def values(rules: Mapping[str, str], prefix: str) -> set[str]:
    """What the rules give to variables whose names begin so."""
    return {value for action in rules.values() if prefix in action
            for name, value in _variables(action).items() if name.startswith(prefix)}
