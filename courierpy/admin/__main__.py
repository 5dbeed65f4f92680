"""``python -m courierpy.admin``: the ``courierpy`` command, where its script is not in reach."""
from __future__ import annotations

from courierpy.admin import run

if __name__ == "__main__":
    run()
