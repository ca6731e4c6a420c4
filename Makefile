# Each command does its own set-up in .venv: make demo, make demo-seg, make demo-pose, make app, make test,
# make test-quick, make lint.
# make gpu proves and measures everything on a GPU with the Python and torch that are there; WHEELS=FOLDER has what is
# missing there, where there is no network (benchmarks/wheels.py collects it).
# With Python 3.11 under another name: make test PYTHON=/path/to/python3.11
PYTHON ?= python3.11
GPU_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
TARGETS := .targets

.PHONY: app demo demo-match demo-seg demo-pose gpu test test-quick lint clean

demo: $(VENV)/.ready
	@BIN=$(BIN) bash tools/demo.sh

demo-match: $(VENV)/.ready
	@BIN=$(BIN) bash tools/demo_match.sh

demo-seg: $(VENV)/.ready
	@BIN=$(BIN) bash tools/demo_seg.sh

demo-pose: $(VENV)/.ready
	@BIN=$(BIN) bash tools/demo_pose.sh

# a page in the browser; flags: make app FLAGS="--port 8000"
app: $(VENV)/.ready
	@$(BIN)/python tools/app.py $(FLAGS)

gpu:
	$(GPU_PYTHON) benchmarks/gpu.py $(if $(WHEELS),--wheels $(WHEELS))

# the promises: the authors' outputs, linear = quadratic, fused = plain, kernels = steps, a model of each task, safety, the house
QUICK := tests/test_house.py tests/models/test_official.py tests/spiking/test_hamming.py tests/spiking/test_attention.py \
         tests/spiking/test_fusion.py tests/spiking/test_clip_ops.py tests/test_precision.py tests/models/recognizers \
         tests/files/test_values.py tests/files/test_hostile.py
test-quick: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile $(QUICK) \
	    -k "not tools_load_nothing and not mutations and not left_to_mmengine and not development_mode and not one_graph"

# two processes of one thread each; what a file shares is made once; files in the order of tests/conftest.py, not those
# of most tests first
# the kernels for GPU run on CPU, interpreted;
# what is built on classes of spikingjelly (neurons, surrogates, what remembers) and the networks of it also run against
# the classic spikingjelly; the rest of tests/spiking has neurons by the same classes or none. The tools run against the
# other MMEngine (in tests/tools). Each is in a folder of its own
CLASSIC := tests/spiking/test_neuron.py tests/spiking/test_clip_ops.py tests/spiking/test_memory.py \
           tests/spiking/test_causal.py tests/models/backbones/test_spike_video_former.py \
           tests/models/backbones/test_spikformer.py tests/models/test_official.py
test: lint $(TARGETS)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
	OMP_NUM_THREADS=1 PYTHONPATH=$(TARGETS)/triton TRITON_INTERPRET=1 $(BIN)/python -m pytest -q \
	    tests/spiking/test_triton_kernels.py
	OMP_NUM_THREADS=1 PYTHONPATH=$(TARGETS)/spikingjelly-classic $(BIN)/python -m pytest -q -n 2 --dist loadfile $(CLASSIC)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# setuptools first and exactly, then torch alone, then what must not pull another torch
$(VENV)/.ready: requirements/build.txt requirements/torch.txt requirements/openmmlab.txt \
                requirements/runtime.txt requirements/dev.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -r requirements/build.txt
	$(PIP) install -r requirements/torch.txt
	$(PIP) install --no-deps -r requirements/openmmlab.txt
	@echo "pip now names dependency conflicts of the packages installed with --no-deps: expected"
	$(PIP) install -r requirements/runtime.txt -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(TARGETS)/.ready: $(VENV)/.ready requirements/other-mmengine.txt requirements/classic-spikingjelly.txt \
                   requirements/triton.txt
	$(PIP) install --no-deps --upgrade --target $(TARGETS)/onedl-mmengine -r requirements/other-mmengine.txt
	$(PIP) install --no-deps --upgrade --target $(TARGETS)/spikingjelly-classic -r requirements/classic-spikingjelly.txt
	$(PIP) install --no-deps --upgrade --target $(TARGETS)/triton -r requirements/triton.txt
	@touch $@

clean:
	rm -rf $(VENV) $(TARGETS) build *.egg-info
