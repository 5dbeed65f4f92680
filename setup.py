"""What setup.cfg says; the man pages, which it installs, are made of docs/ first.

With COURIERPY_COMPILED=1 in the environment courierpy/message is compiled too, by mypyc (of mypy)
and a C compiler: the same Python, less time for each message that is read.
"""
import os
import sys
from pathlib import Path
from typing import Any

from setuptools import setup

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from tools import manual  # noqa: E402


def compiled() -> dict[str, Any]:
    """The arguments of setup() besides."""
    try:
        from mypyc.build import mypycify
    except ImportError:                # pip asks first what is needed, and comes again
        return {"setup_requires": ["mypy>=1.11"]}
    modules = sorted(str(path.relative_to(HERE)) for path in HERE.glob("courierpy/message/[!_]*.py"))
    return {"ext_modules": mypycify(["--ignore-missing-imports", *modules])}


manual.main([])
setup(**compiled() if os.environ.get("COURIERPY_COMPILED") == "1" else {})
