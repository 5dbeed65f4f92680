"""The settings of a program that is started by itself, by a user or an MTA, and not by a listener."""
from __future__ import annotations

import os

from courierpy.model.numbers import decimal
from courierpy.system import about
from courierpy.system.settings import SettingsError
from courierpy.system.settingsfile import parse_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

DEFAULT_FILES = ("/etc/courier/imapd", "/etc/courier/imapd-ssl")       # Courier's places


def status_of(program: str, argv: Sequence[str], usage: str, work: Callable[[list[str]], int]) -> int:
    """The exit status of a program, that of ``work`` with the words of its command line.  WrongWords and
    SettingsError, which that raises, are told on standard error; --help and --version are answered."""
    asked = about.told(argv, usage)
    if asked is not None:
        return asked
    try:
        return work(list(argv[1:]))
    except (WrongWords, SettingsError) as error:
        os.write(2, f"{program}: {error}\n".encode("utf-8", "backslashreplace"))
        return os.EX_CONFIG if isinstance(error, SettingsError) else os.EX_USAGE


def with_files(files: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``files``, on top of the environment; where none is named those of Courier's places,
    as far as they can be read, below the environment.  Raises SettingsError."""
    values: dict[str, str] = {}
    named = list(files)
    for path in named:
        values = parse_file(path, values)
    if named:
        return {**environ, **values}
    for path in DEFAULT_FILES:
        if os.access(path, os.R_OK):
            values = parse_file(path, values)
    return {**values, **environ}


def given(program: str, words: Sequence[str], numbers: str, texts: str, switches: str,
          what: str) -> tuple[dict[str, list[str]], str]:
    """The options, as letters() has them, and the one word that may stand behind them, "" for none.
    ``what``: that word is.  Raises WrongWords."""
    found, rest = letters(program, words, numbers, texts, switches)
    if len(rest) > 1:
        raise WrongWords(f"one {what} is expected, not {' '.join(rest)}")
    return found, rest[0] if rest else ""


class WrongWords(Exception):
    """A command line that is not as it should be; str() is the complaint."""


def letters(program: str, words: Sequence[str], numbers: str, texts: str,
            switches: str) -> tuple[dict[str, list[str]], list[str]]:
    """The options of a command line, and the words behind them: letter -> its values in order, "" for one of
    ``switches``; those of ``numbers`` have a number, those of ``texts`` anything.  Raises WrongWords."""
    found: dict[str, list[str]] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        letter, value = word[1:2], word[2:]
        if letter and letter in numbers + texts:
            if not value and not rest:
                raise WrongWords(f"-{letter} expects a value")
            value = value or rest.pop(0)
            if letter in numbers and decimal(value) is None:
                raise WrongWords(f"-{letter} expects a number, not {value}")
        elif value or not letter or letter not in switches:
            raise WrongWords(f"there is no option {word}; {program} --help tells what there is")
        found.setdefault(letter, []).append(value)
    return found, rest
