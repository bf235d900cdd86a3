# On a fresh machine, `make demo` and `make test` need Python 3.11 or newer and nothing else.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test bench soak format clean

PYTHON    := python3.11 python3 python3.12 python3.13
BIN       := .venv/bin
INSTALLED := .venv/.installed

help:  ## List these commands
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

demo: $(INSTALLED)  ## Train five heads on handwritten digits, print every metric, draw predictions
	@$(BIN)/python examples/digits.py

serve: $(INSTALLED)  ## Train the digits, export them, start the server and ask it a question
	@$(BIN)/python examples/serving.py

test: $(INSTALLED)  ## Check lint, format and types; run the tests, docstrings and examples
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal  # a process per core
	@for example in examples/*.py; do \
		echo "$(BIN)/python -W error $$example"; \
		$(BIN)/python -W error "$$example" || exit; \
	done

bench: $(INSTALLED)  ## Time the heads against code written by hand and Keras; write RESULTS.md
	@$(BIN)/python -m benchmarks.run

soak: $(INSTALLED)  ## Run long: rows, sparse tasks, steps and kills; write RESULTS.md
	@$(BIN)/pytest tests/soak --full -s

format: $(INSTALLED)  ## Format the code and fix what lint can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## Remove .venv, the caches and the pictures
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache digits.png heads.png runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing torch-heads and its development tools into .venv (minutes, the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	@touch $@

# The first of PYTHON that is new enough makes .venv; `make PYTHON=...` names another.
$(BIN)/python:
	@for python in $(PYTHON); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "$$python cannot make a virtual environment." \
				"On Debian: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
		echo "Making .venv with $$($$python --version)"; \
		exec $$python -m venv .venv; \
	done; \
	echo "Python 3.11 or newer is needed; looked for $(PYTHON)." \
		"On Debian: apt install python3 python3-venv" >&2; \
	exit 1
