"""courierpy config: the settings in force, and what is odd about them."""
from __future__ import annotations

import argparse

from courierpy.admin import default_files, read_settings
from courierpy.auth import sound
from courierpy.system.settings import TABLE, Settings, check


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy config", description=__doc__)
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    options = parser.parse_args(words)
    values = read_settings(options.files or default_files())
    for setting in TABLE:
        value = values.get(setting.name, setting.default)
        print(f'{setting.name}="{value}"' + ("" if setting.name in values else "    # default"))
    odd = check(values)
    modules = Settings(values).text("AUTHMODULES").split()
    wrong = sound.wrong(modules, values)
    for line in (*odd, *wrong, *sound.odd(modules, values)):
        print(f"# {line}")
    return 1 if wrong or any("expected" in line for line in odd) else 0
