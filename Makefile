# make demo               trains the demo on real images, prints its result and where it lies; make demo SEED=1
# make table              trains the rows of Table 6 on few of the demo's images, 3 seeds each; prints the table, writes a page
# make demo-detection     trains Faster-RCNN over the demo's network, and draws what it finds
# make demo-segmentation  trains an FCN over the demo's network, and draws what it sees
# make demo-fine-tuning   trains the demo's network on five digits, then takes it to all ten, beside new weights
# make test               runs the tests in two processes; make test ARGS="-m slow" others, in one
# make lint               looks over the code with ruff and mypy
# make .venv              only sets up .venv, as all do first; make .venv EXTRA=cu112 for GPUs
# make constraints        writes .ci/constraints/pyXY.txt: the versions that make .venv installs, for one PYTHON
# make clean              removes .venv
#
# They need python3 (PYTHON=python3.11 for another), python3-venv and make.

PYTHON ?= python3
SEED ?= 0
# cpu or cu112: as .venv was set up, else cpu.
EXTRA ?= $(or $(patsubst .venv/ready-%,%,$(wildcard .venv/ready-*)),cpu)

VERSIONS = 3.8 3.9 3.10 3.11 3.12
version = $(shell (test -x "$$(command -v $(1))" && $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])') 2>&1)
VERSION = $(call version,$(PYTHON))
CONSTRAINTS = .ci/constraints/py$(subst .,,$(VERSION)).txt
HAS_VENV = $(shell $(PYTHON) -c 'import ensurepip, venv; print("yes")' 2>/dev/null)

# What MXNet and OpenCV load, file:Debian package.
LIBRARIES = libgomp.so.1:libgomp1 libquadmath.so.0:libquadmath0 libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0
soname = $(firstword $(subst :, ,$(1)))
package = $(lastword $(subst :, ,$(1)))
loads = $(shell $(PYTHON) -c 'import ctypes; ctypes.CDLL("$(1)"); print("yes")' 2>/dev/null)
missing = $(foreach pair,$(LIBRARIES),$(if $(call loads,$(call soname,$(pair))),,$(call package,$(pair))))
# yes for root on a machine with apt-get; `as_root` is how others become root.
MAY_INSTALL = $(shell test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo yes)
as_root = $(if $(shell command -v sudo),sudo sh,su) -c

# Another Python, named by the user, than the one of .venv: set up again.
ifneq ($(origin PYTHON),file)
ifneq ($(call version,.venv/bin/python),$(VERSION))
.PHONY: .venv/ready-$(EXTRA)
endif
endif

.PHONY: demo table demo-detection demo-segmentation demo-fine-tuning test lint .venv constraints clean

demo: .venv
	.venv/bin/python -m gluon_tricks prepare demo --out runs/demo-data
	.venv/bin/python train_imagenet.py --recipe demo --seed $(SEED) --save-dir runs/demo-seed$(SEED) --resume auto $(ARGS)

table: .venv
	.venv/bin/python -m gluon_tricks ladder 6 --scale demo --seeds 3 --report runs/table.html $(ARGS)

RUN = runs/$@-seed$(SEED)
VOC = runs/demo-scenes/voc/VOC2007/JPEGImages
ADE = runs/demo-scenes/ade/ADEChallengeData2016/images/validation

demo-detection: runs/demo-seed$(SEED)/best
	.venv/bin/python -m gluon_tricks prepare demo --scenes --out runs/demo-scenes
	.venv/bin/python transfer/train_faster_rcnn.py --recipe demo-detection --seed $(SEED) \
	    --base-params runs/demo-seed$(SEED)/best/net.params --save-dir $(RUN) --resume auto $(ARGS)
	.venv/bin/python transfer/train_faster_rcnn.py --recipe demo-detection --predict $(VOC)/000001.jpg \
	    $(VOC)/000003.jpg $(VOC)/000005.jpg $(VOC)/000007.jpg --params $(RUN)/best/net.params --out $(RUN)/pictures

demo-segmentation: runs/demo-seed$(SEED)/best
	.venv/bin/python -m gluon_tricks prepare demo --scenes --out runs/demo-scenes
	.venv/bin/python transfer/train_fcn.py --recipe demo-segmentation --seed $(SEED) \
	    --base-params runs/demo-seed$(SEED)/best/net.params --save-dir $(RUN) --resume auto $(ARGS)
	.venv/bin/python transfer/train_fcn.py --predict $(ADE)/ADE_val_00000001.jpg $(ADE)/ADE_val_00000002.jpg \
	    $(ADE)/ADE_val_00000003.jpg --params $(RUN) --out $(RUN)/pictures

FIVE = runs/demo-five
TEN = .venv/bin/python train_imagenet.py --recipe demo --num-epochs 2 --seed $(SEED) --resume auto

demo-fine-tuning: .venv
	.venv/bin/python -m gluon_tricks prepare demo --out runs/demo-data
	mkdir -p $(FIVE)/train $(FIVE)/val
	cp -r runs/demo-data/train/[0-4] $(FIVE)/train
	cp -r runs/demo-data/val/[0-4] $(FIVE)/val
	.venv/bin/python train_imagenet.py --recipe demo --data-dir $(FIVE) --num-classes 5 --seed $(SEED) \
	    --save-dir $(RUN)/five --resume auto
	@echo '== Ten digits, two epochs: new weights'
	$(TEN) --save-dir $(RUN)/new
	@echo '== The network of five digits, all layers trained'
	$(TEN) --save-dir $(RUN)/all --base-params $(RUN)/five/best/net.params
	@echo '== The same, its new output layer alone'
	$(TEN) --save-dir $(RUN)/head --base-params $(RUN)/five/best/net.params --train-layers head

runs/demo-seed$(SEED)/best:
	$(MAKE) demo ARGS=

test: .venv
	.venv/bin/python -m pytest $(or $(ARGS),-n 2 --dist loadscope)

lint: .venv
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

.venv: .venv/ready-$(EXTRA)

# Of pip, constraints of what is installed and of what setup.py is built with; a pip that lacks the second takes the
# first for both.
.venv/ready-$(EXTRA): export PIP_CONSTRAINT = $(CONSTRAINTS)
.venv/ready-$(EXTRA): export PIP_BUILD_CONSTRAINT = $(CONSTRAINTS)
# --no-compile: compiling every module at once takes longer, and says nothing meanwhile; what is imported is compiled in
# the end.
.venv/ready-$(EXTRA): setup.py $(wildcard $(CONSTRAINTS))
	$(if $(filter cpu cu112,$(EXTRA)),,$(error EXTRA (=$(EXTRA)) must be cpu or cu112))
	$(if $(filter $(VERSIONS),$(VERSION)),,$(error $(PYTHON) is $(if $(VERSION),Python $(VERSION),not found) and \
	    gluon_tricks runs on Python 3.8 to 3.12: name one, as in `make PYTHON=python3.11`))
	$(if $(HAS_VENV),,$(error $(PYTHON) cannot make virtual environments: type \
	    `apt-get install -y python$(VERSION)-venv` as root))
	$(eval MISSING := $(strip $(missing)))
	$(if $(MISSING),$(if $(MAY_INSTALL),,$(error MXNet and OpenCV need system libraries that are missing: type \
	    `$(as_root) 'apt-get update && apt-get install -y $(MISSING)'`)))
	$(if $(MISSING),@echo '== System libraries: $(MISSING)')
	$(if $(MISSING),apt-get update || true)
	$(if $(MISSING),DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(MISSING))
	@echo '== Virtual environment: .venv, Python $(VERSION)'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --upgrade pip
	@echo '== Packages: about 200 MB for the CPU, 2 GB for cu112; a few minutes'
	.venv/bin/python -m pip install --no-compile --editable '.[$(EXTRA),demo,test,lint]'
	@echo '== Check, and byte code of all that is imported'
	.venv/bin/python .ci/compile_imported.py
	@touch $@

constraints:
	$(PYTHON) .ci/renew_constraints.py

clean:
	rm -rf .venv
