# Everything a person or CI does with this checkout. `make` alone lists it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONFIG ?= config.yaml
TORCH = torch==2.13.0
# A host with an NVIDIA GPU takes the extra "gpu"; all others none. `make setup EXTRAS=gpu|train|none` decides by hand.
EXTRAS ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo none)
# What goes into the environment: this checkout, editable; `make install` gives a copy of it.
PROJECT ?= -e .
READY = $(VENV)/.ready-$(EXTRAS)

# Where `make install` puts things.
export PREFIX ?= /opt/firewitness
export ETC ?= /etc/firewitness
export UNITS ?= /etc/systemd/system
export STORE ?= /srv/firewitness
export STATE ?= /var/lib/firewitness
export RUN ?= /run/firewitness
export COMMAND ?= /usr/local/bin/firewitness
export SERVICE_USER ?= firewitness
export SYSTEMCTL ?= systemctl

.DEFAULT_GOAL = help
.PHONY: help setup run install uninstall test test-slow test-torch lint format bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(READY)  ## make .venv with what this host needs (EXTRAS=gpu, train or none forces)

$(READY): requirements/base.txt requirements/torch.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Firewitness needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make setup PYTHON=python3.12")'
	@case "$(EXTRAS)" in gpu) echo "Set-up for an NVIDIA GPU: with torch and Ultralytics (about 7 GB).";; \
	  train) echo "Set-up for training and export: with torch and Ultralytics.";; \
	  none) echo "Set-up for a CPU: OpenVINO, no torch (about 1 GB). Force another with EXTRAS=gpu or EXTRAS=train.";; \
	  *) echo "EXTRAS=$(EXTRAS): there are gpu, train and none."; exit 2;; esac
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements/base.txt
	@# torch first and with its own needs: which CUDA packages those are differs with the build that the index offers.
	@case "$(EXTRAS)" in gpu|train) $(BIN)/python -m pip install -q --disable-pip-version-check -c requirements/torch.txt $(TORCH);; esac
	@# --no-deps with a complete list keeps opencv-python out, which Ultralytics asks for: one cv2 remains (docs/decisions/0001).
	@case "$(EXTRAS)" in gpu|train) grep -vP '^(torch=|triton|cuda-|nvidia-(?!ml-py))' requirements/torch.txt > $(VENV)/torch-rest.txt \
	  && $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r $(VENV)/torch-rest.txt;; esac
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps $(PROJECT)
	@touch $@
	@echo "Ready: $$(du -sh $(VENV) | cut -f1) in $(VENV)."

run: setup  ## watch the cameras of config.yaml; without any, a simulated one
	@$(BIN)/firewitness run --config $(CONFIG)

install:  ## as root: the system service, in /opt/firewitness; again after an update (docs/operating.md)
	@MAKE="$(MAKE)" PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" systemd/install.sh install

uninstall:  ## as root: remove it; evidence, settings and user stay
	@MAKE="$(MAKE)" PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" systemd/install.sh uninstall

test: setup  ## the tests (11 to 12 minutes on two cores of an AMD EPYC)
	$(BIN)/python -m pytest

test-slow: setup  ## the long tests: kills, soak
	$(BIN)/python -m pytest -m slow -n 0

test-torch:  ## the tests of the torch path, in an environment of its own
	$(MAKE) setup VENV=.venv-train EXTRAS=train
	.venv-train/bin/python -m pytest -m torch -n 0 tests/detect tests/training

lint: setup  ## ruff, mypy, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup  ## rewrite the sources as ruff formats them
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: setup  ## measure this host; writes benchmarks/README.md's table
	$(BIN)/python -m benchmarks

lock:  ## renew requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header --no-annotate -o requirements/base.txt
	uv pip compile pyproject.toml --extra dev --extra train --extra gpu --universal --python-version 3.11 --no-header --no-annotate \
	  --override requirements/overrides.txt -c requirements/base.txt -o requirements/torch.txt

clean:  ## remove environments and caches; the evidence in var/ stays
	rm -rf $(VENV) .venv-train build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
