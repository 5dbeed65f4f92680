"""``python -m courierpy.admin``: as ``python -m courierpy``."""
from __future__ import annotations

from courierpy.admin import run

if __name__ == "__main__":
    run()
