"""What setup.cfg says; the man pages, which it installs, are made of docs/ first."""
import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent))

from tools import manual  # noqa: E402

manual.main([])
setup()
