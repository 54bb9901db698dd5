# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists what there is.

CC ?= gcc
PKGS = fuse3 libssh jansson libsystemd libarchive libcrypto zlib
BUILD ?= build
DEBUG = $(BUILD)/debug
INSTALLED = $(BUILD)/installed
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
       -Wno-unused-parameter -Wno-missing-field-initializers
CFLAGS ?= -O2 -g
DEBUG_CFLAGS = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer

prefix ?= /usr/local
bindir ?= $(prefix)/bin
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man
unitdir ?= $(prefix)/lib/systemd/system
# Holds netboot/, rootfs/ and packages/: scripts and files that the daemon reads.
DATA_DIR ?= $(CURDIR)/backend

# make splits names at spaces, and can't be told not to.
ifneq ($(words $(CURDIR)),1)
$(error rackfs can't be built below a path with spaces: $(CURDIR))
endif

# Asked once, and only when something is compiled: `make deps` comes first.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DFUSE_USE_VERSION=314 $(WARN) \
	-Iinclude -Ibackend -I. -DRACKFS_DATA_DIR='"$(DATA_DIR)"' \
	$(PKG_CFLAGS) $(CFLAGS)
LIBS = $(PKG_LIBS) -lpthread

SRC = $(sort $(wildcard backend/engine/*.c backend/host/*.c backend/drivers/*.c))
FS = $(sort $(wildcard fs/*.c))
OBJ = $(SRC:%.c=$(BUILD)/o/%.o)
FSOBJ = $(FS:%.c=$(BUILD)/o/%.o)
UNIT = $(sort $(wildcard tests/test_*.c tests/conformance.c))
# Programs that shell tests run.
TRY = $(sort $(wildcard tests/try_*.c))
FUZZ = $(sort $(wildcard tests/fuzz_*.c))
GEN = $(sort $(wildcard docs/gen/*.c))
GUEST = $(sort $(wildcard backend/netboot/*.c))
MAN = $(sort $(wildcard docs/*.[1-8]))
UNIT_BIN = $(UNIT:tests/%.c=$(BUILD)/tests/%)
TRY_BIN = $(TRY:tests/%.c=$(BUILD)/tests/%)
FUZZ_BIN = $(FUZZ:tests/%.c=$(BUILD)/tests/%)
GEN_BIN = $(GEN:docs/gen/%.c=$(BUILD)/gen/%)

# V=1 shows every command.
V ?= 0
ifeq ($(V),0)
Q = @echo "  $(1) $(2)" &&
else
Q =
endif
# All processors, unless -j was given.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
SUB = $(MAKE) --no-print-directory

all: $(BUILD)/rackfs ## build build/rackfs (the default)

# Rebuilds everything when the compiler's command line changes.
FLAGS = $(CC) $(ALL_CFLAGS) $(LDFLAGS)
$(BUILD)/flags: FORCE
	@pkg-config --exists $(PKGS) || { \
		echo "Libraries are missing: \`make deps\` installs them." >&2; \
		pkg-config --print-errors --exists $(PKGS); exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' "$(subst ",\",$(FLAGS))" >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/o/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call Q,CC,$<) $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/librackfs.a: $(OBJ)
	$(call Q,AR,$@) rm -f $@ && ar rcs $@ $^

# The face without its main(): for tests of its modules.
$(BUILD)/libface.a: $(filter-out %/fs/main.o,$(FSOBJ))
	$(call Q,AR,$@) rm -f $@ && ar rcs $@ $^

$(BUILD)/rackfs: $(FSOBJ) $(BUILD)/librackfs.a
	$(call Q,LD,$@) $(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

TEST_LIBS = $(BUILD)/libface.a $(BUILD)/librackfs.a
$(BUILD)/tests/fuzz_%: tests/fuzz_%.c tests/fuzz.c $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call Q,CC,$<) $(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $(filter %.c,$^) \
		$(TEST_LIBS) $(LIBS)

$(BUILD)/tests/%: tests/%.c $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call Q,CC,$<) $(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(TEST_LIBS) $(LIBS)

$(BUILD)/gen/%: docs/gen/%.c $(TEST_LIBS)
	@mkdir -p $(@D)
	$(call Q,CC,$<) $(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(TEST_LIBS) $(LIBS)

# Every line of the include rules' and clang-tidy's compiler flags, for editors
# and lint.
compile_commands.json: Makefile $(BUILD)/flags
	@tests/lint/compile-commands $(CC) $(ALL_CFLAGS) -- \
		$(SRC) $(FS) $(GUEST) $(UNIT) $(TRY) $(FUZZ) $(GEN) >$@.new && mv $@.new $@

deps: ## install what is missing to build and run (Debian packages)
	@backend/packages/install backend/packages/core

deps-tools: ## install what is missing for tests and lint
	@backend/packages/install backend/packages/tools

demo: ## three machines at ./cluster: install, build, boot, show
	@$(SUB) deps
	@$(SUB) $(JOBS) all
	@examples/demo start $(BUILD)/rackfs

demo-stop: ## all of the demo down, unmounted, nothing left running
	@examples/demo stop $(BUILD)/rackfs

scenario: ## three blank disks become a Raft cluster with TLS at ./cluster
	@$(SUB) deps
	@$(SUB) $(JOBS) all
	@examples/scenario start $(BUILD)/rackfs

scenario-stop: ## all of the scenario down, unmounted, nothing left running
	@examples/scenario stop $(BUILD)/rackfs

# Only TESTS="fs/spec vm/session" when given; COUNTS=FILE also gets the counts.
check: ## install, build with sanitizers, run all tests (TESTS=... for some)
	@$(SUB) deps
	@$(SUB) deps-tools
	@$(SUB) debug
	@RACKFS_BUILD=$(DEBUG) COUNTS=$(COUNTS) tests/run $(TESTS)

debug: ## build with sanitizers in build/debug, with the unit tests
	@$(SUB) $(JOBS) BUILD=$(DEBUG) CFLAGS="$(DEBUG_CFLAGS)" \
		all-tests

all-tests: $(BUILD)/rackfs $(UNIT_BIN) $(TRY_BIN) $(FUZZ_BIN) $(GEN_BIN)

bench: ## measure: 10,000 fake nodes, writes, kills of the daemon (NODES=...)
	@$(SUB) $(JOBS) all
	@RACKFS=$(abspath $(BUILD))/rackfs tests/bench/run

FUZZ_SECONDS ?= 10
fuzz: ## run each fuzzer for FUZZ_SECONDS=10
	@$(SUB) debug
	@for f in $(FUZZ:tests/%.c=$(DEBUG)/tests/%); do \
		$$f -seconds $(FUZZ_SECONDS) tests/corpus/$${f##*/fuzz_} || exit 1; \
	done

lint: ## clang-format, clang-tidy, cppcheck, shellcheck, include rules
	@$(SUB) deps
	@$(SUB) deps-tools
	@$(SUB) compile_commands.json
	@tests/lint/run

format: ## let clang-format lay out every C file
	clang-format -i $(wildcard */*.[ch] */*/*.[ch])

docs: $(GEN_BIN) ## make the pages that come from tables anew
	$(BUILD)/gen/files_page >docs/FILES.md
	$(BUILD)/gen/man_page >docs/rackfs.8
	$(BUILD)/gen/spec_page >docs/rackfs-spec.5

# Built apart, since it knows another folder of data.
install: ## install to DESTDIR and prefix=/usr/local
	@$(SUB) $(JOBS) BUILD=$(INSTALLED) \
		DATA_DIR=$(datadir)/rackfs all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(datadir)/rackfs/netboot \
		$(DESTDIR)$(datadir)/rackfs/rootfs \
		$(DESTDIR)$(datadir)/rackfs/packages $(DESTDIR)$(unitdir)
	install -m 755 $(INSTALLED)/rackfs $(DESTDIR)$(bindir)/rackfs
	cp -R --preserve=mode backend/netboot/. $(DESTDIR)$(datadir)/rackfs/netboot
	cp -R --preserve=mode backend/rootfs/. $(DESTDIR)$(datadir)/rackfs/rootfs
	install -m 644 include/identity.h $(DESTDIR)$(datadir)/rackfs/netboot
	install -m 644 backend/packages/builder.sh backend/packages/core \
		backend/packages/tools \
		$(DESTDIR)$(datadir)/rackfs/packages
	sed 's|@bindir@|$(bindir)|' docs/systemd/rackfs.service \
		>$(INSTALLED)/rackfs.service
	install -m 644 $(INSTALLED)/rackfs.service \
		$(DESTDIR)$(unitdir)/rackfs.service
	set -e; for page in $(MAN); do \
		section=$(DESTDIR)$(mandir)/man$${page##*.}; \
		install -d $$section; install -m 644 $$page $$section; \
	done

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(bindir)/rackfs $(DESTDIR)$(unitdir)/rackfs.service
	rm -rf $(DESTDIR)$(datadir)/rackfs
	for page in $(MAN); do \
		rm -f $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/}; \
	done

clean: ## remove build/
	rm -rf $(BUILD) compile_commands.json

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14

FORCE:
.PHONY: FORCE all deps deps-tools demo demo-stop scenario scenario-stop check \
	bench debug all-tests fuzz lint format docs install uninstall clean help
-include $(OBJ:.o=.d) $(FSOBJ:.o=.d) $(UNIT_BIN:=.d) $(TRY_BIN:=.d) $(FUZZ_BIN:=.d) $(GEN_BIN:=.d)
