"""The words of commands that end as Courier's do."""
from __future__ import annotations

import argparse
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

WRONG = 1                          # Courier's exit status


class Parser(argparse.ArgumentParser):
    """Wrong words end with Courier's exit status."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG, f"{self.prog}: {message}\n")
