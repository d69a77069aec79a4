# Everything here runs from a fresh clone: what a target needs, it gets (build/bootstrap.sh, build/venv.sh).

PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
# More arguments for pytest, as in: make test ARGS='-k digest -x'
ARGS ?=
# Processes that run tests at once; much of what they do is waiting. One alone: make test WORKERS=0 ARGS='--pdb'
WORKERS ?= $(shell echo $$((4 + $$(nproc))))

export PYTHON DESTDIR
VENV := .venv
# What pytest makes of the tests is kept, whatever the environment says: each process needs it.
PYTEST = env PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest $(ARGS)
BOOTSTRAP = sh build/bootstrap.sh
MANUAL = man/man1/dockersave.1 $(GUIDES:dockersave/help/%.md=man/man7/dockersave-%.7) \
	bash-completion/completions/dockersave zsh/site-functions/_dockersave fish/vendor_completions.d/dockersave.fish
GUIDES = $(wildcard dockersave/help/*.md)

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-engines bench check format lock install install-manual uninstall manual clean venv needs-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## save, verify and list a sample image from a small registry on loopback
	@$(BOOTSTRAP) run
	@sh build/install.sh "$(CURDIR)/.demo"
	@PYTHONPATH=.demo/lib/dockersave $(PYTHON) -m tests.demo --command .demo/bin/dockersave

test: needs-test venv ## run the tests (installs the engines that they talk to)
	$(PYTEST) -n $(WORKERS) -m "not long and not appliance and not signers" --ignore tests/appliance

test-long: needs-test venv ## run the tests that take minutes
	$(VENV)/bin/python -m pip --quiet install --require-hashes --requirement build/requirements/long.txt
	$(PYTEST) -m "long and not appliance" --timeout 3600

test-engines: needs-test venv build/out/signers/made ## load every kind of archive into every engine, and have cosign verify
	$(PYTEST) tests/engines -m "engines or signers"

build/out/signers/made: tests/engines/signers.lock build/sysroot.py
	$(PYTHON) build/sysroot.py unpack $< build/out/packages $(@D)
	@touch $@

bench: needs-test venv ## measure speed, memory and disk against the peers
	$(VENV)/bin/python -m tests.bench --write

check: venv ## lint, formatting, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy build/*.py

format: venv ## format the sources
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: ## renew the hash-locked requirements
	sh build/lock.sh

install: ## install the command (PREFIX=/usr/local, DESTDIR=)
	@$(BOOTSTRAP) run
	sh build/install.sh "$(PREFIX)"

uninstall: ## uninstall it
	sh build/install.sh --remove "$(PREFIX)"
	rm -f $(addprefix "$(DESTDIR)$(PREFIX)"/share/,$(MANUAL))

manual: venv ## write the man pages and the completions of bash, zsh and fish (build/out/share)
	$(VENV)/bin/python build/manual.py build/out/share

install-manual: manual ## install man pages and completions
	for file in $(MANUAL); do install -D -m 644 "build/out/share/$$file" "$(DESTDIR)$(PREFIX)/share/$$file" || exit; done

clean: ## remove everything that was built here
	rm -rf .venv .venv.lock .demo build/out build/dockersave dist dockersave-static*
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants
	find dockersave tests build -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@$(BOOTSTRAP) run
	@sh build/venv.sh $(VENV) build/requirements/dev.txt

needs-test:
	@$(BOOTSTRAP) test

include build/static.mk
include build/release.mk
