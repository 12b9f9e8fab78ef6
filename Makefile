# What a fresh machine needs: make, bash, Python 3.10 or later with venv, and PyPI. `make` alone lists the targets.
SHELL := bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: demo docs test test-aarch64 lint format bench browser sshd constraints clean help FORCE

# A .venv counts only if its pip starts and no install into it was cut short; any other is made again.
HEALTHY := $(shell test ! -e $(VENV)/.busy && $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' \
	2>/dev/null && echo yes)

demo: $(VENV)/.demo  ## train, cut, profile and run a small model on digits; the results go to runs/demo
	$(VENV)/bin/offramp demo --out runs/demo

test: $(VENV)/.test browser sshd  ## run the tests (PYTEST_ARGS="-k planner" for some of them)
	$(PY) -m pytest -n 2 $(PYTEST_ARGS)

test-aarch64: $(VENV)/.test  ## run the device-side tests on an emulated Jetson's processor (minutes; Linux on x86-64)
	$(PY) -m tests.aarch64.run $(PYTEST_ARGS)

docs: $(VENV)/.test  ## build the site into docs/_build and check every link in it
	$(PY) docs/build.py

lint: $(VENV)/.dev  ## check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.dev  ## put the code in its format and mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/.demo  ## measure the ratios in benchmarks/
	$(PY) -m benchmarks

clean:  ## remove .venv, builds and caches; runs/ stays
	rm -rf $(VENV) .aarch64 build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -prune -exec rm -rf {} +

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1#\2/p' Makefile | while IFS='#' read -r name what; do \
		printf '%-20s %s\n' "$$name" "$$what"; done

# The stamps: each stands for an install of these extras, later ones hold the earlier, and `.busy` marks one under way.
$(VENV)/.demo: $(VENV)/pyvenv.cfg setup.py constraints.txt
	$(call install,host$(comma)report$(comma)rtx,.demo)
$(VENV)/.test: $(VENV)/pyvenv.cfg setup.py constraints.txt
	$(call install,test,.demo .test)
$(VENV)/.dev: $(VENV)/pyvenv.cfg setup.py constraints.txt
	$(call install,dev,.demo .test .dev)

comma := ,
define install
@echo "installing offramp[$(1)] into $(VENV); PyTorch is the large part"
@touch $(VENV)/.busy; trap 'exit 130' INT TERM; set -o pipefail; \
	$(PY) -m pip install --disable-pip-version-check -e '.[$(1)]' -c constraints.txt | while read -r line; do \
		case "$$line" in Downloading*MB*) echo "  $$line" ;; Installing\ collected*) echo "  unpacking" ;; esac; done; \
	status=$$?; rm -f $(VENV)/.busy; exit $$status
@cd $(VENV) && touch $(2)
endef

$(VENV)/pyvenv.cfg: $(if $(HEALTHY),,FORCE)
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) on PATH: install Python 3.10 or later" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or later is needed, $(PYTHON) is \
	%d.%d: try make PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv --clear --without-pip $(VENV)
	@touch $(VENV)/.busy && $(PY) -m ensurepip --default-pip >/dev/null && rm $(VENV)/.busy

# The report's test looks at the page in a browser.
browser: $(VENV)/.test
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Chromium with apt-get"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends chromium >/dev/null && exit; \
	fi; \
	echo "installing Chromium with playwright"; $(PY) -m playwright install chromium >/dev/null 2>&1 || \
		echo "no Chromium to be had: the report's browser test will be skipped"

# The tests of `offramp deploy` deploy to this machine.
sshd:
	@PATH=$$PATH:/usr/sbin:/usr/local/sbin; command -v sshd >/dev/null && command -v ssh-keygen >/dev/null && exit; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing sshd with apt-get"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends openssh-server openssh-client >/dev/null && exit; \
	fi; \
	echo "no sshd to be had: the tests that deploy over it will be skipped"

constraints: $(VENV)/pyvenv.cfg  ## resolve constraints.txt after a change in setup.py (UPGRADE=--upgrade: newest)
	@$(PY) -m pip install --disable-pip-version-check -q uv
	@trap 'rm -f pins.tmp' EXIT; set -eo pipefail; cp constraints.txt pins.tmp; \
	grep '^torch==' constraints.txt | $(PY) -m uv pip compile setup.py -c - -o pins.tmp --universal \
		--python-version 3.10 --all-extras --no-annotate --no-header --quiet $(UPGRADE); \
	{ grep '^#' constraints.txt; grep -vE '^(nvidia|cuda|triton)' pins.tmp; } > $(VENV)/pins; \
	mv $(VENV)/pins constraints.txt
