"""courierpy completion SHELL: what bash, zsh or fish reads to complete the words of courierpy.

It is made of what the commands say of themselves, by their --help.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import os
import re

from courierpy import admin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_OPTION = re.compile(r"^ {2,}(-.*?)(?: {2,}(.*))?$", re.M)
_FLAG = re.compile(r"(?<![\w-])(--?[A-Za-z0-9][\w-]*)(?: ([A-Z{][^\s,]*))?")
_ACT = re.compile(r"^(?:Usage:| +) *courierpy \w+ (-\w+)", re.M)
_MAY = re.compile(r" \[(-\w)(?: ([A-Z]+))?\]")              # of a line of usage
_ACTIONS = re.compile(r" ((?:\w+\|)+\w+) \.\.\.")
WIDTH = "500"                  # columns of the help, so that each option is one line


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy completion", description=__doc__)
    parser.add_argument("shell", choices=SHELLS)
    print(SHELLS[parser.parse_args(words).shell](), end="")
    return 0


class Option:
    """``flags``: its spellings; ``value``: what follows it as the help has it, "" for nothing; ``text``: what
    it does."""

    def __init__(self, flags: tuple[str, ...], value: str, text: str) -> None:
        self.flags = flags
        self.value = value
        self.text = text


def told(*words: str) -> str:
    """What ``courierpy WORDS --help`` prints, each option on a line of its own."""
    said = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(said):
            admin.main(["courierpy", *words, "--help"])
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return said.getvalue()


def options(text: str) -> list[Option]:
    """Of a help; where it lists none, those that its lines of usage begin with."""
    found = []
    for match in _OPTION.finditer(text.partition("options:")[2]):
        flags = _FLAG.findall(match[1])
        value = max(value for _, value in flags)
        found.append(Option(tuple(flag for flag, _ in flags), value, match[2] or ""))
    return found or [Option((flag,), "", "") for flag in _ACT.findall(text)] or \
        [Option((flag,), value, "") for flag, value in _MAY.findall(text.partition("\n")[0])]


def commands() -> dict[tuple[str, ...], list[Option]]:
    """The words of each subcommand -> its options: ("serve",), ("user",), ("user", "add")..."""
    found: dict[tuple[str, ...], list[Option]] = {}
    for name in admin.SUBCOMMANDS:
        text = told(name)
        found[name,] = options(text)
        actions = _ACTIONS.search(text.partition("\n\n")[0])
        for action in actions[1].split("|") if actions else ():
            found[name, action] = options(told(name, action))
    return found


def _flags(which: Iterable[Option]) -> str:
    return " ".join(flag for option in which for flag in option.flags)


def _actions(every: Iterable[tuple[str, ...]], name: str) -> list[str]:
    return [words[1] for words in every if len(words) == 2 and words[0] == name]


def _parents(every: Iterable[tuple[str, ...]]) -> list[str]:
    """The subcommands that have others below them."""
    return list(dict.fromkeys(words[0] for words in every if len(words) == 2))


def bash() -> str:
    every = commands()
    rows = []
    for words, found in every.items():
        more = _actions(every, words[0]) if len(words) == 1 else []
        pattern = " ".join(words)
        rows.append(f'        "{pattern}") words="{_flags(found)}" actions="{" ".join(more)}" ;;')
    pairs = " ".join(_parents(every))
    second = "|".join(dict.fromkeys(words[1] for words in every if len(words) == 2))
    first = " ".join([*admin.SUBCOMMANDS, "help", "--help", "--version"])
    return f"""# bash completion of courierpy
_courierpy() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} said=${{COMP_WORDS[1]}} words= actions= at
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "{first}" -- "$word"))
        return
    fi
    if [[ " {pairs} " == *" $said "* ]]; then
        for ((at = 2; at < COMP_CWORD; at += 1)); do
            case ${{COMP_WORDS[at]}} in
                {second}) said="$said ${{COMP_WORDS[at]}}"; break ;;
            esac
        done
    fi
    case $said in
{chr(10).join(rows)}
        help) actions="{' '.join(admin.SUBCOMMANDS)}" ;;
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    elif [[ -n $actions ]]; then
        COMPREPLY=($(compgen -W "$actions" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _courierpy courierpy
complete -d maildirmake
"""


def zsh() -> str:
    every = commands()

    def spec(option: Option) -> str:
        text = re.sub(r"([\[\]:'])", lambda char: "'\\''" if char[0] == "'" else f"\\{char[0]}", option.text)
        value = f":{option.value.strip('{}').lower()}:_files" if option.value else ""
        return " ".join(f"'{flag}[{text}]{value}'" for flag in option.flags)

    rows = []
    for words, found in every.items():
        specs = " ".join(spec(option) for option in found)
        more = _actions(every, words[0]) if len(words) == 1 else []
        rest = f"'1:action:({' '.join(more)})'" if more else "'*:file:_files'"
        rows.append(f"        '{' '.join(words)}') _arguments {specs} {rest} ;;")
    listed = "\n".join(f"        '{name}:{text}'" for name, text in admin.SUBCOMMANDS.items())
    pairs = "|".join(_parents(every))
    return f"""#compdef courierpy
# zsh completion of courierpy
_courierpy() {{
    local -a found=(
{listed}
    )
    if ((CURRENT == 2)); then
        _describe command found
        return
    fi
    shift words
    ((CURRENT--))
    local said=$words[1]
    if [[ $said == ({pairs}) && CURRENT -gt 2 ]]; then
        said="$said $words[2]"
        shift words
        ((CURRENT--))
    fi
    case $said in
{chr(10).join(rows)}
    esac
}}
_courierpy "$@"
"""


def fish() -> str:
    every = commands()
    lines = ["# fish completion of courierpy"]
    for name, text in admin.SUBCOMMANDS.items():
        lines.append(f"complete -c courierpy -f -n __fish_use_subcommand -a {name} -d {_quoted(text)}")
    for words, found in every.items():
        when = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
        if len(words) == 1:
            for action in _actions(every, words[0]):
                lines.append(f"complete -c courierpy -f -n '{when}' -a {action}")
        for option in found:
            said = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                            for flag in option.flags) + " -r" * bool(option.value)
            lines.append(f"complete -c courierpy -n '{when}' {said} -d {_quoted(option.text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
