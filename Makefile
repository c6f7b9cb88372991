# make demo   set up and run the main job        make test   set up and pass the tests
.PHONY: demo test check docs bench fuzz experiments zero-shot kinds clean

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

demo: $(READY)
	$(VENV)/bin/morelli demo --out demo --overwrite

test: check
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

docs: $(READY)
	$(RUN) -m sphinx -W --keep-going -q -c docs . build/docs
	@echo "build/docs/index.html"

# 10,000 malformed inputs, and every command stopped at every file-system call (about 15 minutes).
fuzz: $(READY)
	OMP_NUM_THREADS=1 PYTHONPATH=src:tests $(RUN) -m fuzz.run
	OMP_NUM_THREADS=1 PYTHONPATH=src:tests $(RUN) -m fuzz.crash

bench: $(READY)
	$(RUN) benchmarks/inversion.py --quick

# The paper's tables, each resumable; generators that are missing are trained first (hours on a CPU, then cached in runs/).
experiments: $(READY)
	$(RUN) experiments/small_gans/run.py seeds celeba64
	for name in gans seeds perturbations little-data lambda activations runtime attacks; do $(RUN) experiments/$$name/run.py || exit 1; done
	$(RUN) experiments/attacks/table.py
	$(RUN) experiments/publish.py

# The bank, the network trained on it and what it is worth, each resumable (hours on a CPU, cached in runs/).
zero-shot: $(READY)
	$(RUN) experiments/small_gans/run.py seeds celeba64
	for name in bank denoiser extractor zoo spectra zero-shot; do $(RUN) experiments/$$name/run.py || exit 1; done
	$(RUN) experiments/zero-shot/table.py

# Other kinds of generators, each resumable; what they learn from is trained first (hours on a CPU). Sound needs espeak-ng.
kinds: $(READY)
	for name in latent/sources latent/run style/generators style/run style/table audio/train audio/run audio/inversion audio/table \
	  precision/run precision/table calibration/run calibration/table weights/bank weights/features weights/run weights/table; do \
	  $(RUN) experiments/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) demo build

# Torch first, and the build without CUDA where no NVIDIA GPU answers; an index that cannot be reached is a warning.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing: apt-get install python3-venv"; exit 1; }
	@if nvidia-smi >/dev/null 2>&1; then $(RUN) -m pip install --quiet "torch>=2.6,<2.14"; else \
	  $(RUN) -m pip install --quiet --retries 0 --extra-index-url https://download.pytorch.org/whl/cpu "torch>=2.6,<2.14"; fi
	$(RUN) -m pip install --quiet --editable ".[dev]"
	@touch $(READY)
