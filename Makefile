# make serve: a demo server on 127.0.0.1:1143      make check: style, types, quick tests
# make test:  everything, real clients included    make index: rewrite the command table
# make install PREFIX=/usr/local: the programs, in a venv of their own
# make dist: sdist and wheel in dist/, each looked at, the wheel tried in a fresh environment
# make recording: the pictures of the first minute with the demo, anew
# make docs: all pages, and what the docstrings of the library say, as a site in build/site
# make test-pythons: the quick tests on every Python from 3.11 on that the machine has
# make bench: every row beside Courier and Dovecot, and both pictures of README
# make bench-growth: how cost grows with a folder, and its picture alone
# make bench-idle: how long a push takes               make bench-messages: how cost grows with a message
# make bench-parts: what the parts of a session cost without a server
# make fuzz: mutated mail, commands and files for long, SECONDS for each target (120)
PYTHON ?= python3
PORT ?= 1143
BIN = .venv/bin
PREFIX ?= /usr/local
SECONDS ?= 120
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' courierpy/__init__.py)
# what pytest makes of the tests' sources takes longer than some of the tests: it is kept from run to run
unexport PYTHONDONTWRITEBYTECODE
PROGRAMS = $(shell sed -n '/^console_scripts/,/^[a-z0-9]* =$$/s/^    \([a-z0-9]*\) = .*/\1/p' setup.cfg)

.PHONY: install develop serve announce check test test-pythons index bench bench-growth bench-idle bench-messages bench-parts fuzz dist packages docs recording clean

# the package alone, for make serve
.venv/package: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "courierpy needs Python 3.11 or later, $(PYTHON) is $$($(PYTHON) -V 2>&1): make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module: install it first (Debian: apt install python3-venv)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
	@echo "installing courierpy and what it needs into .venv (some seconds, 40 MB)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e . || { rm -rf .venv; exit 1; }
	@touch $@

# courierpy below PREFIX, in a venv of its own: programs in bin/, settings in etc/courierpy/, what shells complete
# by and man pages in share/; with python-pam, as a host's users are the system's
install:
	@$(PYTHON) -c 'import os, sys; from pathlib import Path; path = Path(sys.executable).resolve(); \
	  os.geteuid() or all(each.stat().st_mode & 1 for each in (path, *path.parents)) or print( \
	  f"only root will be able to run what is installed, as {path} is root\x27s: PYTHON= names another Python", file=sys.stderr)'
	$(PYTHON) -m venv "$(DESTDIR)$(PREFIX)/lib/courierpy"
	"$(DESTDIR)$(PREFIX)/lib/courierpy/bin/python" -m pip install -q --disable-pip-version-check '.[pam]'
	mkdir -p "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/etc/courierpy"
	for program in $(PROGRAMS); do \
	  ln -sf "../lib/courierpy/bin/$$program" "$(DESTDIR)$(PREFIX)/bin/$$program" || exit 1; done
	for file in bash-completion/completions/courierpy zsh/site-functions/_courierpy \
	  fish/vendor_completions.d/courierpy.fish; do \
	  mkdir -p "$(DESTDIR)$(PREFIX)/share/$${file%/*}" && \
	  cp "etc/completions/$${file##*/}" "$(DESTDIR)$(PREFIX)/share/$$file" || exit 1; done
	mkdir -p "$(DESTDIR)$(PREFIX)/share/man/man8" && \
	  cp "$(DESTDIR)$(PREFIX)/lib/courierpy/share/man/man8/"* "$(DESTDIR)$(PREFIX)/share/man/man8/"
	for file in imapd imapd-ssl pop3d pop3d-ssl; do test -e "$(DESTDIR)$(PREFIX)/etc/courierpy/$$file" || \
	  cp "etc/$$file" "$(DESTDIR)$(PREFIX)/etc/courierpy/$$file" || exit 1; done

develop: .venv/installed

.venv/installed: .venv/package
	@echo "installing the tools of the tests into .venv (about a minute, 170 MB)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,dns]'
	@touch $@

serve: .venv/package
	@$(BIN)/python -m courierpy demo demo --serve --port $(PORT)

check: develop
	@echo "style, types and the quick tests: four to ten minutes on two processors"
	$(BIN)/ruff check courierpy tests bench tools fuzz
	$(BIN)/mypy
	$(BIN)/python -m tools.build_index --check
	$(BIN)/python -m tools.rfc_references --check
	$(BIN)/python -m pytest -n 2 -rs -m 'not server and not clients and not peers'

test: announce check
	sh tests/install_clients
	$(BIN)/python -m pytest -n 2 --dist loadgroup -rs -m 'server or clients or peers'

announce:
	@echo "all tests: seventeen to forty minutes on two processors, the quick ones first; the reason of each that is skipped comes last"

test-pythons: develop
	@echo "the quick tests on each Python of this machine: three to eight minutes each"
	$(BIN)/python -m tools.pythons

index: develop
	$(BIN)/python -m tools.build_index
	$(BIN)/python -m tools.rfc_references

bench: develop
	$(BIN)/python -m bench
	$(BIN)/python -m bench.growth

bench-growth: develop
	$(BIN)/python -m bench.growth

bench-idle: develop
	$(BIN)/python bench/idle.py

bench-messages: develop
	$(BIN)/python -m bench.growth_of_messages

bench-parts: develop
	$(BIN)/python -m bench.parts

fuzz: develop
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python -m fuzz --seconds $(SECONDS)

# the sdist from the clone, the wheel from the sdist: what is missing there is found
dist: develop packages

packages:
	@tag=$$(git describe --tags --exact-match 2>/dev/null); test -z "$$tag" || test "$$tag" = "v$(VERSION)" || \
	  { echo "the tag is $$tag, but courierpy/__init__.py says $(VERSION)"; exit 1; }
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tools.smoke dist/*.whl

# into an environment of the tests what makes pages is put when it is asked for
docs: develop
	@$(BIN)/python -c 'import mkdocs, pdoc' 2>/dev/null || \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	$(BIN)/python -m tools.site

# docs/first-minute.cast and .svg, by curl and the demo
recording: develop
	$(BIN)/python -m tools.recording

clean:
	rm -rf .venv .fuzz demo build dist *.egg-info
