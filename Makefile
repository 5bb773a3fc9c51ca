# Every target sets up what it needs: Debian packages, .venv, the built package. A second call is quick.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := gcc binutils libc6-dev linux-libc-dev nftables python3-dev python3-venv

# What the built package is made of. Python sources are not in it: the install is editable.
NATIVE := pyproject.toml setup.py $(wildcard ftd/dataplane/*.[ch] ftd/dataplane/build.py) \
	$(wildcard ftd/vm/microvm/*.[ch] ftd/vm/microvm/guests/*) kernel-patches/include/uapi/linux/kvm_mt.h
NATIVE := $(filter-out %.bin %__pycache__,$(NATIVE))

C_SOURCES := $(wildcard ftd/dataplane/*.c ftd/vm/microvm/*.c)
C_WARNINGS := -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
C_CHECKS := $(C_SOURCES:%=check-%)

# Tests below $(1): two at a time those of $(2), which need one processor and no exact time; then the others by themselves.
define tested
@status=0; \
$(BIN)/python -m pytest -m "not long" --durations=20 -n 2 --dist worksteal $(2) || status=$$?; \
$(BIN)/python -m pytest -m "not long" --durations=20 $(2:%=--ignore=%) $(1) || status=$$?; \
exit $$status
endef
PATIENT_LAB := $(addprefix tests/lab/test_,selftests.py dkms.py trackers.py linux.py guest.py host.py)

.PHONY: help setup demo lab test test-lab test-long sim bench bench-kernel bench-lab kernel kernel-test kernel-mutants check check-python check-c clean $(C_CHECKS)

help:
	@echo "make demo       two daemons, a guest, a kill: within a minute"
	@echo "make lab        two emulated hosts that run ftd, and a prompt to use and to hurt them"
	@echo "make test       all tests but the long ones"
	@echo "make test-lab   of these, those on emulated hosts"
	@echo "make test-long  the long ones"
	@echo "make sim        10,000 simulated runs on all processors, within ten minutes"
	@echo "make bench      the figures of README.md, measured here"
	@echo "make kernel     kvm's modules with kernel-patches/, for KERNEL=release or the newest one, into TO=folder"
	@echo "make kernel-test  the patched kvm's tests, on hosts under emulation: within 10 minutes"
	@echo "make kernel-mutants  faults planted in the patches: each must be seen"
	@echo "make bench-kernel  memory tracking against the dirty ring and the bitmap, in the lab"
	@echo "make bench-lab  what clients of a real guest see when its host dies, in the lab"
	@echo "make check      linters, types, layers, C warnings"
	@echo "make setup      only what all of these need"
	@echo "make clean      remove what was built"

setup: $(STAMP)

$(STAMP): $(NATIVE) tools/setup.sh
	PACKAGES="$(PACKAGES)" tools/setup.sh $(VENV)
	@touch $@

# Status 3: KVM cannot be used here. Then the story is told on an emulated host.
demo: setup
	@status=0; $(BIN)/ftctl demo || status=$$?; [ $$status = 3 ] || exit $$status; $(BIN)/python -m lab demo

lab: setup
	$(BIN)/python -m lab pair

test: setup
	$(call tested,tests,$(PATIENT_LAB) tests/sim tests/dataplane tests/unit)

test-lab: setup
	$(call tested,tests/lab,$(PATIENT_LAB))

test-long: setup
	$(BIN)/python -m pytest -m long

sim: setup
	$(BIN)/python -m tests.sim --seeds 0..9999 --jobs $$(nproc)

bench: setup
	$(BIN)/python -m bench

kernel: setup
	$(BIN)/python -m lab kernel $(if $(KERNEL),--kernel $(KERNEL)) $(if $(TO),--to $(TO))

kernel-test: setup
	$(BIN)/python -m lab test $(if $(KERNEL),--kernel $(KERNEL))

kernel-mutants: setup
	$(BIN)/python -m lab mutants $(if $(KERNEL),--kernel $(KERNEL))

# In the lab: about a quarter of an hour.
bench-kernel: setup
	$(BIN)/python -m bench.kernel

# About half an hour: 20 kills, each with a boot of a host and of the guest.
bench-lab: setup
	$(BIN)/python -m bench.lab

check: check-python check-c

check-python: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-c: $(C_CHECKS)

$(C_CHECKS): check-%: % | setup
	gcc -std=gnu11 -O2 -fsyntax-only $(C_WARNINGS) -Iftd/dataplane -Iftd/vm/microvm \
		-idirafter kernel-patches/include/uapi $<

clean:
	rm -rf $(VENV) build dist *.egg-info ftd/_dataplane.c
	find ftd -name '*.so' -delete
	find ftd -name '*.bin' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
