"""What is odd about values of settings, by their table."""
from __future__ import annotations

from courierpy.model.regex import fits, later
from courierpy.system.settings import BY_NAME, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.settings import Setting

_OF_MANY = ("MAXPERIP",)          # odd where clients open many connections, which those of POP3 do not
_NAMED = later(r"\{(\w+)\}")
WRONG, LOST, UNNEEDED = "wrong", "lost", "unneeded"


class Finding:
    """What is odd about one setting.  ``kind``: WRONG; LOST: something is not there or switched off that
    may be missed; UNNEEDED: it does nothing here, and nothing is missed."""

    __slots__ = ("kind", "name", "text")

    def __init__(self, kind: str, name: str, text: str) -> None:
        self.kind = kind
        self.name = name
        self.text = text

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" if self.name else self.text


def _sound(settings: Settings, name: str) -> str:
    """The value of a setting; its default where it has a wrong one."""
    value = settings.text(name)
    return BY_NAME[name].default if BY_NAME[name].wrong(value) else value


def _wrong(setting: Setting, value: str) -> Finding | None:
    expected = setting.wrong(value)
    return Finding(WRONG, setting.name, f"{expected}, not {value!r}") if expected else None


def check(values: Mapping[str, str]) -> list[Finding]:
    """What is odd about the values, by the table."""
    settings = Settings(values)
    found = []
    few = "POP3DSTART" in values and "IMAPDSTART" not in values
    for name, value in sorted(values.items()):
        setting = BY_NAME.get(name)
        if setting is None:
            continue
        wrong = _wrong(setting, value)
        if wrong is not None:
            found.append(wrong)
        elif few and name in _OF_MANY:
            continue
        elif setting.unneeded and value.upper() not in ("", "0", "NO", setting.default.upper()):
            found.append(Finding(UNNEEDED, name, setting.unneeded))
        elif setting.off is not None and fits(setting.off[0], value.strip()):
            text = _NAMED.sub(lambda match: _sound(settings, match[1]), setting.off[1])
            found.append(Finding(LOST, name, f"{value.strip()}: {text}"))
    return found


# what speaks up by itself where it uses the value
_SELF_TOLD = ("IMAP_LAYOUT", "IMAP_FSYNC", "IMAP_EMPTYTRASH")


def wrong_ones(environ: Mapping[str, str]) -> list[str]:
    """A line for each wrong IMAP_... variable of a session: what was expected, its value, what counts."""
    values = {name: value for name, value in environ.items()
              if name.startswith("IMAP_") and name not in _SELF_TOLD}
    settings = Settings(values)
    told = []
    for name, value in sorted(values.items()):
        found = _wrong(BY_NAME[name], value) if name in BY_NAME else None
        if found is not None:
            told.append(f"{found}; {settings.number(name)} counts" if BY_NAME[name].kind in ("number", "flag")
                        else f"{found}; it counts as if it were not set")
    return told
