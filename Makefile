# make serve: a demo server on 127.0.0.1:1143      make check: style, types, quick tests
# make test:  everything, real clients included    make index: rewrite the command table
# make bench: every row beside Courier and Dovecot     make bench-growth: how cost grows with a folder
# make bench-idle: how long a push takes
PYTHON ?= python3
PORT ?= 1143
BIN = .venv/bin

.PHONY: install serve check test index bench bench-growth bench-idle clean

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,dns]'
	touch $@

serve: install
	@test -d demo || $(BIN)/courierpy demo demo
	@echo "Account demo, password demo, on 127.0.0.1:$(PORT).  Reach it with"
	@echo "  curl imap://127.0.0.1:$(PORT)/INBOX -u demo:demo -X 'FETCH 1:* (FLAGS ENVELOPE)'"
	@echo "  mutt -f imap://demo@127.0.0.1:$(PORT)/INBOX        (ctrl-C ends the server)"
	@$(BIN)/courierpy serve -C demo/imapd --port $(PORT)

check: install
	$(BIN)/ruff check courierpy tests bench tools
	$(BIN)/mypy
	$(BIN)/python -m tools.build_index --check
	$(BIN)/python -m pytest -m 'not server and not clients and not peers'

test: check
	sh tests/install_clients
	$(BIN)/python -m pytest -m 'server or clients or peers'

index: install
	$(BIN)/python -m tools.build_index

bench: install
	$(BIN)/python -m bench

bench-growth: install
	$(BIN)/python -m bench.growth

bench-idle: install
	$(BIN)/python bench/idle.py

clean:
	rm -rf .venv demo build *.egg-info
