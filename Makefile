# Everything a newcomer needs: `make pretrain` and `make test`. Run from a clean clone; the environment makes itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MIEN := $(BIN)/python -m mien

DATA ?= data/emocap
SEED ?= 0
# People of the three sets are other people: training, validation, test.
TRAIN_PEOPLE ?= 300
TRAIN_IMAGES ?= 6000
# Tests at the same time: most wait for processes that they have started.
JOBS ?= 2
# Steps of each run of the ablation: fifteen runs of 500 took two cores, shared with other work, 107 minutes.
STEPS ?= 500
# What bench-faults trains, and its tries of each fault.
RECIPE ?= emocapclip/tiny
TIMES ?= 20

.DEFAULT_GOAL := help
.PHONY: help setup pretrain data check test bench bench-step bench-stream bench-faces bench-kernels bench-checkpoint bench-startup bench-faults bench-kills bench-remote bench-plan bench-editing bench-gpu reproduce-ablation reproduce-twins reproduce-units reproduce-wild reproduce-editing reproduce-rig reproduce-ranks reproduce-layouts reproduce-backends clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

setup: $(VENV)/ready  ## Make the environment in .venv and install mien into it

$(VENV)/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

data: $(DATA)/train/index.json $(DATA)/val/index.json $(DATA)/test/index.json  ## Make captioned synthetic faces

$(DATA)/train/index.json: | $(VENV)/ready
	rm -rf $(DATA)/train
	$(MIEN) data synth --kind emocap --people $(TRAIN_PEOPLE) --images $(TRAIN_IMAGES) --seed $(SEED) $(DATA)/train

$(DATA)/val/index.json: | $(VENV)/ready
	rm -rf $(DATA)/val
	$(MIEN) data synth --kind emocap --people 40 --images 280 --seed $(SEED) --first-person 100000 $(DATA)/val

$(DATA)/test/index.json: | $(VENV)/ready
	rm -rf $(DATA)/test
	$(MIEN) data synth --kind emocap --people 80 --images 700 --seed $(SEED) --first-person 200000 $(DATA)/test

pretrain: setup data  ## Make faces, train the tiny EmoCapCLIP, evaluate it on people never seen
	WANDB_MODE=offline $(MIEN) train recipes/emocapclip/tiny.yaml --resume data.train.shards=$(DATA)/train \
	    data.val.shards=$(DATA)/val seed=$(SEED) | tee $(DATA)/run.txt
	$(MIEN) evaluate "$$(tail -n 1 $(DATA)/run.txt)" --protocol zero_shot \
	    --train $(DATA)/train --test $(DATA)/test --json $(DATA)/zero_shot.json
	@echo "report: $$(tail -n 1 $(DATA)/run.txt)/evaluation/zero_shot/report.html"

check: setup  ## Style, types, shell scripts
	$(BIN)/ruff check trainer kernels tests
	$(BIN)/ruff format --check trainer kernels tests
	$(BIN)/mypy
	$(BIN)/shellcheck slurm/*.sh .ci/run .ci/install-system

test: setup  ## The test suite, on a CPU
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

bench: bench-step bench-stream bench-remote bench-faces bench-kernels bench-checkpoint bench-startup bench-plan bench-editing  ## Every benchmark, one after another

bench-step: data  ## A training step against a bare loop and against open_clip's loss
	$(BIN)/python -m mien.engine.bench

bench-checkpoint: setup  ## How long a checkpoint of 300 M parameters holds up the loop
	$(BIN)/python -m mien.engine.bench_checkpoint

bench-startup: data  ## From `mien train` to the first step, and from --resume to the next, by part
	$(BIN)/python -m mien.engine.bench_startup --data $(DATA)

bench-faults: setup  ## Kill, tear and flood sessions of RECIPE, each fault TIMES times: how every try ended
	$(BIN)/python -m mien.faults --recipe $(RECIPE) --times $(TIMES)

bench-kills: setup  ## Kill corpus builds at random times, three seeds: the same shards, and no call paid twice but those under way
	$(BIN)/python -m mien.corpus.kills

bench-plan: setup  ## Plans against measured FLOPs and memory, and the plan of ViT-L/14
	$(BIN)/python -m mien.plan.bench

bench-editing: setup  ## A training step and 20 edits of one photo, against the editor as published
	$(BIN)/python -m mien.systems.editing.bench

bench-gpu: setup  ## On a machine with a card: the kernels, and plans against a step's FLOPs, memory and time
	$(BIN)/python kernels/benchmarks/contrast.py
	$(BIN)/python kernels/benchmarks/mine.py
	$(BIN)/python kernels/benchmarks/group_patches.py
	$(BIN)/python -m mien.plan.bench_gpu

bench-stream: setup  ## The stream against decoding alone and against webdataset
	$(BIN)/python -m mien.data.bench

bench-remote: setup  ## The stream from a web server and an object store on localhost against local files
	$(BIN)/python -m mien.data.bench_remote

bench-faces: setup  ## Milliseconds per rendered face
	$(BIN)/python -m mien.faces.bench

bench-kernels: setup  ## Time, memory and error of the kernels, against open_clip and plain autograd
	$(BIN)/python kernels/benchmarks/contrast.py
	$(BIN)/python kernels/benchmarks/mine.py
	$(BIN)/python kernels/benchmarks/group_patches.py

reproduce-ablation: data  ## Five variants, three seeds each, STEPS steps: the table of the README
	$(BIN)/python -m mien.reproduce ablation --data $(DATA) --set engine.max_steps=$(STEPS)

reproduce-twins: data  ## EmoCapCLIP and four twins, STEPS steps, three seeds, on synthetic versions of 22 benchmarks
	$(BIN)/python -m mien.reproduce twins --data $(DATA) --set engine.max_steps=$(STEPS)

reproduce-units: data  ## Three ways to help EmoCapCLIP with action units, on the benchmarks of reproduce-twins
	$(BIN)/python -m mien.reproduce units --data $(DATA) --set engine.max_steps=$(STEPS)

reproduce-wild: setup  ## Photographs in PHOTOS (with labels.csv), towers of run INIT: three splits, HOG, a CNN
	@test -n "$(PHOTOS)" || { echo "PHOTOS is not set; give the folder that holds labels.csv: make reproduce-wild PHOTOS=FOLDER" >&2; exit 2; }
	$(BIN)/python -m mien.reproduce wild --photos $(PHOTOS) $(if $(INIT),--init $(INIT))

reproduce-editing: setup  ## MagicFace on pairs of the face world, three seeds, measured on people never seen
	$(BIN)/python -m mien.reproduce editing $(if $(VARIANTS),--variants)

reproduce-rig: setup  ## RigFace on pairs of the face world, three seeds, measured on people never seen
	$(BIN)/python -m mien.reproduce rig-editing $(if $(VARIANTS),--variants)

reproduce-ranks: data  ## 50 steps on 1, 2 and 4 processes: how far losses and weights are apart
	$(BIN)/python -m mien.reproduce ranks --data $(DATA)

reproduce-layouts: data  ## ddp, fsdp2 and ZeRO on 1, 2, 4 processes, and checkpoints moved between all of them
	$(BIN)/python -m mien.reproduce layouts --data $(DATA)

reproduce-backends: data  ## 200 steps on each back end of the kernels: how far losses and weights are apart
	$(BIN)/python -m mien.reproduce backends --data $(DATA)

clean:  ## Remove the environment and what tools leave behind; data and checkpoints stay
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
