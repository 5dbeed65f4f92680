"""The settings of a program that is started by itself, by a user or an MTA, and not by a listener."""
from __future__ import annotations

import os

from courierpy.system.settings import parse_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_FILES = ("/etc/courier/imapd", "/etc/courier/imapd-ssl")       # Courier's places


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
