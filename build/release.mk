# What is published of a version. Included by the Makefile.

# In Debian's names: those that `make dockersave-static` can build.
ARCHITECTURES := amd64
# What builds them: the target `container` gives the same bytes on every machine.
BUILD ?= dockersave-static
RELEASED = $(foreach arch,$(ARCHITECTURES),$(arch)=dockersave-static$(patsubst -amd64,,-$(arch)))

.PHONY: release

release: venv ## fill dist/ with all that is published of a version (BUILD=container: as anybody can rebuild it)
	@$(BOOTSTRAP) release
	@$(VENV)/bin/python build/release.py
	@for arch in $(ARCHITECTURES); do $(MAKE) --no-print-directory $(BUILD) ARCH=$$arch || exit; done
	@$(VENV)/bin/python build/release.py $(RELEASED)
