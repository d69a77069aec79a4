# The static binary. Included by the Makefile.

# What it is for. All that is particular to a machine is in its file.
ARCH ?= amd64
-include build/targets/$(ARCH).env
export ARCH EMULATOR
TARGETS := $(basename $(notdir $(wildcard build/targets/*.env)))
LAUNCHER ?= own
# What of PyInstaller's each of them carries.
PACKED_own := onedir
PACKED_stock := onefile
# A directory of wheels, if the network is not to be used.
WHEELS ?=
# The Python of the base image; its wheels are fetched.
CONTAINER_PYTHON ?= 3.14
BASE_IMAGE ?=
export BASE_IMAGE
# What the tests use in its place: a root file system as a tar. One that is there is taken.
STANDIN ?= build/out/standin.tar
STATIC := build/out/static
STATIC_PYTHON := $(STATIC)/venv/bin/python
# Of machines other than this one.
SUFFIX := $(LIBRARY_TARGET:%=-$(ARCH))
WORK := $(STATIC)$(SUFFIX)
# A compiler that comes as a wheel, pinned and hashed, with its own musl: the same bytes on every machine.
LAUNCHER_CC ?= $(STATIC_PYTHON) -m ziglang cc -target $(LAUNCHER_TARGET) $(CPU:%=-mcpu=%)
# It builds its C library with more open files than a shell's usual limit allows.
MORE_FILES := ulimit -n $$(ulimit -H -n);
LAUNCHER_CFLAGS ?= -O3 -std=gnu11 -ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables \
	-fno-sanitize=all
LAUNCHER_WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wno-format-nonliteral -Werror
LAUNCHER_SETTINGS := -DINTERPRETER='"$(INTERPRETER)"'
LAUNCHER_SOURCES := $(addprefix build/launcher/,main.c signals.c place.c unpack.c run.c install.c memory.c)
FROZEN_SOURCES := dockersave.spec LICENSE build/frozen.py build/components.py \
	$(shell find build/instead dockersave -name '*.py' -o -path '*/help/*.md' | LC_ALL=C sort)
# What runs another machine's programs, for a command and what that starts.
EMULATED = $(EMULATOR:%=$(VENV)/bin/python tests/appliance/emulated.py % $(WORK)/launcher)
# Nothing of the machine or the moment may come into the result. In which column of a line each instruction's source is
# takes a quarter of all bytecode, and is for showing sources, which are not there.
FROZEN_ENVIRONMENT := PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH=0 \
	PYTHONNODEBUGRANGES=1 PYINSTALLER_CONFIG_DIR=$(WORK)/pyinstaller PATH="$(CURDIR)/$(STATIC)/venv/bin:$$PATH"
# What it has cached does not tell for which environment.
FREEZE := --log-level WARN --noconfirm --clean

.PHONY: force dockersave-static static-venv container reproducible test-container test-appliance test-appliance-long \
	test-appliance-system bench-startup

dockersave-static: static-venv ## the command as one file that runs anywhere (ARCH=; LAUNCHER=stock: plain staticx)
	@$(MAKE) --no-print-directory $(WORK)/$(LAUNCHER)
	@install -m 755 $(WORK)/$(LAUNCHER) $@$(SUFFIX)
	@install -m 644 $(WORK)/$(PACKED_$(LAUNCHER))/components.json $@$(SUFFIX).components.json
	@sha256sum $@$(SUFFIX) | tee $@$(SUFFIX).sha256

static-venv:
	@test -e build/targets/$(ARCH).env || { echo "make: there is no ARCH=$(ARCH), but: $(TARGETS)" >&2; exit 2; }
	@test -z "$(SUFFIX)" || test $(LAUNCHER) = own || { echo "make: staticx has no launcher for ARCH=$(ARCH)" >&2; exit 2; }
	@$(BOOTSTRAP) static
	@mkdir -p $(STATIC)
	@sh build/static-venv.sh $(STATIC)/venv $(WHEELS)

# What no date tells: a module that is gone, a flag that is another one. Its own date is that of the last change.
$(WORK)/inputs: force
	@mkdir -p $(@D)
	@{ echo '$(FROZEN_SOURCES) $(LAUNCHER_CC) $(LAUNCHER_CFLAGS)'; cat build/*.mk build/targets/$(ARCH).env; } >$@.new
	@cmp -s $@.new $@ || cp $@.new $@

# staticx knows neither the date nor compression that is fast; what is stored is smaller after its xz.
$(STATIC)/stock: $(FROZEN_SOURCES) $(STATIC)/venv/made-from $(WORK)/inputs
	$(FROZEN_ENVIRONMENT) PYINSTALLER_ZLIB_COMPRESSION_LEVEL=0 \
		pyinstaller $(FREEZE) --distpath $(STATIC)/onefile --workpath $(STATIC)/onefile-work dockersave.spec
	LD_PRELOAD= PATH="$(CURDIR)/$(STATIC)/venv/bin:$$PATH" staticx $(STATIC)/onefile/dockersave $@.part
	chmod 755 $@.part
	mv $@.part $@

$(WORK)/own: $(WORK)/launcher $(WORK)/files.tar build/stage.py $(WORK)/inputs
	$(STATIC_PYTHON) build/stage.py pack $(WORK)/launcher $(WORK)/files.tar $@.part
	mv $@.part $@

ifeq ($(LIBRARY_TARGET),)
$(WORK)/files.tar: $(FROZEN_SOURCES) build/stage.py $(STATIC)/venv/made-from $(WORK)/inputs
	$(FROZEN_ENVIRONMENT) PYINSTALLER_ZLIB_COMPRESSION_LEVEL=9 $(STATIC_PYTHON) -m PyInstaller $(FREEZE) \
		--distpath $(WORK)/onedir --workpath $(WORK)/onedir-work dockersave.spec -- --onedir
	$(STATIC_PYTHON) build/stage.py collect $(WORK)/onedir/dockersave $@
else
include build/foreign.mk
endif

$(WORK)/launcher: $(LAUNCHER_SOURCES) build/launcher/launcher.h $(WORK)/zstd.o $(WORK)/inputs
	$(MORE_FILES) $(LAUNCHER_CC) $(LAUNCHER_CFLAGS) $(LAUNCHER_WARNINGS) $(LAUNCHER_SETTINGS) \
		-isystem $(STATIC)/venv/zstd -static -s -Wl,--gc-sections $(LAUNCHER_SOURCES) $(WORK)/zstd.o -o $@

$(WORK)/zstd.o: build/launcher/zstd.c build/launcher/launcher.h $(STATIC)/venv/made-from $(WORK)/inputs
	$(MORE_FILES) $(LAUNCHER_CC) $(LAUNCHER_CFLAGS) -w -isystem $(STATIC)/venv/zstd -c build/launcher/zstd.c -o $@

# A shell's `lock` is one of build/sysroots: its packages lie with the wheels, for a build without network.
FETCH = $(PYTHON) build/sysroot.py fetch $$lock build/out/wheels

container: ## dockersave-static from a container (ARCH=, BASE_IMAGE=, CONTAINER_PYTHON=, ENGINE=)
	@$(BOOTSTRAP) run
	@rm -rf build/out/wheels
	@PYTHON_VERSION=$(CONTAINER_PYTHON) sh build/static-venv.sh --download build/out/wheels
	@$(if $(LIBRARY_TARGET),for lock in $(wildcard build/sysroots/$(SUITE)/*.lock); do $(FETCH) || exit; done)
	@sh build/container.sh .

reproducible: ## build dockersave-static twice, differently, for each architecture, and compare
	@$(BOOTSTRAP) reproducible
	@rm -rf build/out/wheels
	@sh build/static-venv.sh --download build/out/wheels
	@for lock in $(wildcard build/sysroots/*/*.lock); do $(FETCH) || exit; done
	@sh build/reproducible.sh build/out/wheels $(TARGETS)

test-container: needs-test venv ## build in docker, podman and buildah, compare, and try what comes out (STANDIN=)
	@$(BOOTSTRAP) container
	@mkdir -p build/out/container
	@sh build/standin.sh $(STANDIN)
	@rm -rf build/out/wheels
	@PYTHON_VERSION=$$(tar -tf $(STANDIN) | sed -n 's|^\./usr/bin/python\(3\.[0-9]*\)$$|\1|p') \
		sh build/static-venv.sh --download build/out/wheels
	STANDIN=$(STANDIN) $(PYTEST) tests/appliance/container.py
	DOCKERSAVE_STATIC=build/out/container/dockersave-static $(PYTEST) tests/appliance/test_bare.py -k main_job

test-appliance: needs-test venv dockersave-static ## test the static binary on bare and hostile hosts (ARCH=)
	@$(BOOTSTRAP) appliance $(EMULATOR:%=emulator)
	$(EMULATED) $(PYTEST) tests/appliance -m "appliance and not long"

test-appliance-long: needs-test venv dockersave-static ## its tests that take minutes, and the stock bootloader's (ARCH=)
	@$(BOOTSTRAP) appliance $(EMULATOR:%=emulator)
	@$(if $(EMULATOR),,$(MAKE) --no-print-directory $(STATIC)/stock)
	$(EMULATED) $(PYTEST) tests/appliance $(EMULATOR:%=--ignore tests/appliance/test_stock.py) -m "appliance and long" --timeout 900

test-appliance-system: needs-test venv dockersave-static ## test it on Debian's kernel, in a machine of software (ARCH=arm64, armhf)
	@test -n "$(MACHINE)" || { echo "make: this machine is one for ARCH=$(ARCH)" >&2; exit 2; }
	@$(BOOTSTRAP) machine
	@sh tests/appliance/machine.sh $(SUITE) $(ARCH) $(KERNEL) build/out/machines/$(ARCH)
	$(PYTEST) tests/appliance/system.py

bench-startup: needs-test venv dockersave-static ## measure what the static binary's start costs
	$(VENV)/bin/python -m tests.appliance.startup
