# Two commands for a fresh clone: make demo, make test. Both make .venv and need Python alone.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check-all lint docs release bench gpu gpu-wheels clean
.DELETE_ON_ERROR:

demo: .stamp-demo
	mkdir -p demo
	$(BIN)/python -m npsubpix locate "$$($(BIN)/python -c 'import pathlib, skimage.data; print(pathlib.Path(skimage.data.__file__).with_name("hubble_deep_field.jpg"))')" \
	    --min-distance 4 --threshold 60 --plateau centroid --output demo/peaks.csv --plot demo/overlay.png

# Tests of a file share compiled kernels, so one process has them all. One process more than there are cores keeps the
# cores busy to the end; each imports all tests, which takes 15 s. Files run in the order of their names: xdist's own, by
# their numbers of tests, would leave the longest tests, each alone in its file, to the end.
PYTEST = $(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)') --dist loadfile --no-loadscope-reorder

test: .stamp-test
	$(PYTEST) -m "not exhaustive and not device" $(PYTEST_ARGS)

lint: .stamp-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m numpydoc.hooks.validate_docstrings $$(git ls-files 'npsubpix/*.py' | grep -v /_)
	$(BIN)/codespell $$(git ls-files)

docs: .stamp-docs
	$(BIN)/sphinx-build -W --keep-going -n -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

# What is uploaded: built from what is committed, and checked; `CONTRIBUTING.md` says what else a release needs.
release: .stamp-release
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

bench: .stamp-bench .stamp-picasso
	$(BIN)/python -m benchmarks

# All that is asked of a machine with a GPU, in eight minutes, with its own Python, without an index. What such a
# machine may lack travels with the tree, as wheels of its Python; gpu_results has what was found.
GPU_PYTHON ?= 3.12
GPU_PLATFORMS ?= manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64

gpu:
	$(PYTHON) -m benchmarks.cuda.session $(GPU_ARGS)

gpu-wheels:
	rm -rf .wheels
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --python-version $(GPU_PYTHON) --implementation cp \
	    $(addprefix --platform ,$(GPU_PLATFORMS)) --dest .wheels 'array-api-compat>=1.9' kornia==0.9.0 'kornia-rs>=0.2.0'

.venv:
	$(PYTHON) -m venv .venv

# torch is pinned for tests, so that all compare with one; the stamps hold what is installed.
# picasso, without the graphical interface that it depends on, and what its other modules import.
PICASSO := picassosr==0.11.0 tqdm nd2 playsound3 pyyaml statsmodels patsy sqlalchemy

.stamp-demo: pyproject.toml | .venv
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

.stamp-test: pyproject.toml | .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0 --editable '.[test]'
	touch $@

.stamp-lint: pyproject.toml | .stamp-test
	$(BIN)/python -m pip install --quiet --editable '.[lint]'
	touch $@

.stamp-docs: pyproject.toml | .stamp-test
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

.stamp-release: pyproject.toml | .venv
	$(BIN)/python -m pip install --quiet --editable '.[release]'
	touch $@

.stamp-bench: pyproject.toml | .stamp-test
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

.stamp-picasso: Makefile | .stamp-test
	$(BIN)/python -m pip install --quiet --no-deps $(PICASSO)
	touch $@

clean:
	rm -rf .venv .venv-* .wheels .stamp-* demo dist docs/_build docs/_generated docs/auto_examples

# Lanes take minutes each, and run one after the other.
LANES := lane-exhaustive lane-device lane-oldest lane-newest lane-unlinked
.PHONY: $(LANES) lane-napari
.NOTPARALLEL: check-all

check-all: $(LANES)

lane-exhaustive: .stamp-test .stamp-picasso
	$(PYTEST) -m exhaustive $(PYTEST_ARGS)

# The kernels of the GPU, which g++ compiles for the host.
lane-device: .stamp-test
	$(PYTEST) -m "device and not exhaustive" $(PYTEST_ARGS)

# napari opens what is written for it. Its plugins of pytest warn, which is an error here: it has an environment of its
# own, of 800 MB, and none is loaded.
lane-napari:
	$(PYTHON) -m venv .venv-napari
	.venv-napari/bin/python -m pip install --quiet --editable '.[app]' pytest hypothesis napari
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 .venv-napari/bin/python -m pytest tests/test_io_napari.py $(PYTEST_ARGS)

# The core tests with other versions of NumPy, SciPy and Numba, each lane in an environment of its own.

lane-oldest lane-newest lane-unlinked: lane-%:
	$(PYTHON) tests/lane.py $* $(PYTEST_ARGS)
