# The program for a machine that is not this one. Included by static.mk when ARCH names one.

SYSROOTS := build/out/sysroots/$(SUITE)
SYSROOT := $(SYSROOTS)/$(ARCH)
TOOLS := $(SYSROOTS)/tools
# Where Debian's packages are kept; with WHEELS they are there, too.
PACKAGES := $(or $(WHEELS),build/out/packages)
SOURCE := $(STATIC)/venv/source
# Linked with the C library of the packages. Times have 64 bits even where a long has not.
FOREIGN_CC = $(STATIC_PYTHON) -m ziglang cc -target $(LIBRARY_TARGET) -mcpu=$(CPU) -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64
FOREIGN_CFLAGS := -O2 -s -g0 -DNDEBUG -fno-sanitize=all -w -ffunction-sections -fdata-sections -Wl,--gc-sections
# What PyInstaller's `waf configure` finds out about a Linux.
BOOTLOADER := -D_GNU_SOURCE -DHAVE_BASENAME -DHAVE_DIRNAME -DHAVE_MKDTEMP -DHAVE_UNSETENV -DHAVE_WCSDUP
# As the setup.py of backports.zstd does it with --system-zstd: OpenSSL needs that library anyway.
ZSTD := $(SOURCE)/backports-zstd/src/c
ZSTD_MODULE := $(WORK)/_zstd.so

$(SYSROOTS)/%/made: build/sysroots/$(SUITE)/%.lock build/sysroot.py build/sysroots/tools.sh
	$(STATIC_PYTHON) build/sysroot.py unpack $< $(PACKAGES) $(@D)
	@test $* != tools || sh build/sysroots/tools.sh $(@D)
	@touch $@

$(WORK)/bootloader: $(STATIC)/venv/made-from $(WORK)/inputs
	$(MORE_FILES) $(FOREIGN_CC) $(FOREIGN_CFLAGS) $(BOOTLOADER) -I$(SOURCE)/pyinstaller/bootloader/zlib \
		$(SOURCE)/pyinstaller/bootloader/src/*.c $(SOURCE)/pyinstaller/bootloader/zlib/*.c -o $@

$(ZSTD_MODULE): $(SYSROOT)/made $(STATIC)/venv/made-from $(WORK)/inputs
	$(MORE_FILES) $(FOREIGN_CC) $(FOREIGN_CFLAGS) -fPIC -shared -I$(SYSROOT)/usr/include $$(printf ' -I%s' \
		$(SYSROOT)/usr/include/python3* $(ZSTD)/zstd/lib $(ZSTD)/compat $(ZSTD)/compression_zstd $(ZSTD)/compression_zstd/clinic \
		$(ZSTD)/pythoncapi-compat) $(ZSTD)/compression_zstd/*.c $(SYSROOT)/usr/lib/$(TRIPLET)/libzstd.so.1 -o $@

$(WORK)/libnssfix.so: build/nssfix.c $(STATIC)/venv/made-from $(WORK)/inputs
	$(MORE_FILES) $(FOREIGN_CC) $(FOREIGN_CFLAGS) -fPIC -shared -Wl,-soname,$(@F) build/nssfix.c -o $@

$(WORK)/files.tar: $(FROZEN_SOURCES) build/stage.py build/foreign.py $(SYSROOTS)/tools/made $(SYSROOT)/made \
		$(WORK)/bootloader $(ZSTD_MODULE) $(WORK)/libnssfix.so $(WORK)/inputs
	export $(FROZEN_ENVIRONMENT) PYINSTALLER_ZLIB_COMPRESSION_LEVEL=9; PATH="$(CURDIR)/$(TOOLS)/$(TRIPLET):$$PATH" \
		PYTHONPATH="$(CURDIR)/$(STATIC)/venv/tools:$$(echo $(CURDIR)/$(STATIC)/venv/lib/python3*/site-packages)" \
		$(CURDIR)/$(TOOLS)/usr/bin/python3 -m PyInstaller $(FREEZE) \
		--distpath $(WORK)/onedir --workpath $(WORK)/onedir-work dockersave.spec -- --onedir --target=$(ARCH)
	$(STATIC_PYTHON) build/stage.py adopt $(WORK)/onedir/dockersave $@
