# SPDX-License-Identifier: GPL-2.0-only
#
# criu-pagescan: the plugin, the pagescan command, their tests, demo and benchmark. `make help` tells the targets.

VERSION := 0.1.0

O ?= build
PREFIX ?= /usr
SBINDIR ?= $(PREFIX)/sbin
PLUGINDIR ?= $(PREFIX)/lib/criu
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
# Where a `criu` that runs `pagescan criu` is to be installed, if anywhere.
LAUNCHERDIR ?=

# The criu that demo, tests and benchmark run; scripts/setup puts one there.
CRIU ?= $(CURDIR)/build/criu/criu
export PAGESCAN_CRIU := $(CRIU)

CFLAGS ?= -O2 -g
override CFLAGS += -std=gnu11 -fPIC -fvisibility=hidden -ffunction-sections -MMD -MP \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla $(WERROR)
override CPPFLAGS += -D_GNU_SOURCE -DPAGESCAN_VERSION='"$(VERSION)"' -DPAGESCAN_SBINDIR='"$(SBINDIR)"' \
	-DPAGESCAN_PLUGINDIR='"$(PLUGINDIR)"' -Icriu/include -Iplugins/pagescan -I$(O)/gen
# libcompel's and CRIU's installed headers; on Debian 12 they come with the private tree.
CRIU_CPPFLAGS := -isystem build/criu/include -isystem build/criu/include/compel

ifneq ($(V),1)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2);
endif

room = $(patsubst plugins/pagescan/%.c,$(O)/obj/%.o,$(wildcard plugins/pagescan/$(1)/*.c))
LIB_OBJS := $(call room,scan) $(call room,track) $(call room,audit) $(O)/obj/track/pagescan.pb-c.o \
	$(O)/obj/audit/images.pb-c.o
LAND_OBJS := $(call room,image) $(call room,land) $(O)/obj/image/criu.pb-c.o $(O)/obj/land/land.pb-c.o
LIVE_OBJS := $(call room,copy) $(call room,move)
REPORT_OBJS := $(call room,report) $(O)/obj/report/style.o
PLUGIN_OBJS := $(call room,bind)
CMD_OBJS := $(call room,cmd)
LIBS := -lprotobuf-c -ldl
CMD_LIBS := $(LIBS) -lcap-ng -lseccomp -ljansson -llz4
# Of the command alone; nothing of it runs inside CRIU: the keeper's process, what live rounds do, names of containers.
COMMAND_OBJS := $(addprefix $(O)/obj/track/,confine.o container.o keeper_server.o live.o arm.o thread.o release.o \
	clock.o)

all: $(O)/pagescan_plugin.so $(O)/pagescan

help:
	@echo 'all        build the plugin and the pagescan command into $(O)/'
	@echo 'setup      install what is missing on a Debian machine, CRIU included'
	@echo 'demo       setup, then pre-dump, dump and restore a real process [MIB=1024 RATE=1000]'
	@echo 'check      setup, then all tests'
	@echo 'check-criu setup, then the tests that run criu, with the newest one of Debian'
	@echo 'bench      setup, then the benchmark'
	@echo 'torture    setup, then random processes in random rounds [SEED=n SECONDS=600]'
	@echo 'mutants    setup, then see that the tests notice a plugin broken on purpose'
	@echo 'check-vm   setup, then the tests on other kernels, emulated'
	@echo 'check-apps setup, then real programs under load: stopped and live rounds, migrations (test/apps/run --docs: a table)'
	@echo 'check-zdtm setup, then CRIU'\''s own test suite, with tracking and without (hours; see test/upstream/run --help)'
	@echo 'arm64      setup, then build for arm64 into $(O)/arm64'
	@echo 'lint       no warnings (gcc, clang), formatting, static analysis'
	@echo 'install    install (DESTDIR, PREFIX, SBINDIR, PLUGINDIR, MANDIR, COMPLETIONDIR; LAUNCHERDIR=DIR: a criu, too)'
	@echo 'uninstall  remove what install installed'
	@echo 'deb        setup, then build Debian packages into $(O)/deb'
	@echo 'check-packages setup, then build, install, use and remove them in fresh trees of Debian 12 and 13'
	@echo 'check-runtimes setup, deb, then runc, podman and crun with containers of their own'
	@echo 'dist       a release tarball of what is committed'
	@echo 'clean      remove what was built (make distclean: the private CRIU too)'
	@echo 'Variables: V=1 shows the commands, O=DIR builds elsewhere, CRIU=/path/to/criu tests with that one.'

$(O)/pagescan_plugin.so: $(filter-out $(COMMAND_OBJS),$(LIB_OBJS)) $(LAND_OBJS) $(PLUGIN_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-z,nodelete -Wl,-z,defs -Wl,--gc-sections $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/pagescan: $(LIB_OBJS) $(LAND_OBJS) $(LIVE_OBJS) $(REPORT_OBJS) $(CMD_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) -Wl,--gc-sections $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(CMD_LIBS)

$(O)/obj/%.o: plugins/pagescan/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(if $(filter bind/%,$*),$(CRIU_CPPFLAGS)) $(CFLAGS) -c -o $@ $<

$(O)/obj/%.pb-c.o:
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/obj/track/pagescan.pb-c.o: $(O)/gen/pagescan.pb-c.c
$(O)/obj/audit/images.pb-c.o: $(O)/gen/images.pb-c.c
$(O)/obj/image/criu.pb-c.o: $(O)/gen/criu.pb-c.c
$(O)/obj/land/land.pb-c.o: $(O)/gen/land.pb-c.c

$(O)/gen/%.pb-c.c $(O)/gen/%.pb-c.h &: plugins/pagescan/*/%.proto
	$(call say,PROTOC,$@)
	$(Q)mkdir -p $(O)/gen
	$(Q)protoc-c --proto_path=$(<D) --c_out=$(O)/gen $(<F)

$(O)/obj/track/epoch.o: $(O)/gen/pagescan.pb-c.h
$(O)/obj/audit/chain.o: $(O)/gen/images.pb-c.h
$(O)/obj/image/image.o $(O)/obj/image/read.o $(O)/obj/image/visit.o $(O)/obj/image/entries.o \
	$(O)/obj/bind/service.o: $(O)/gen/criu.pb-c.h
$(O)/obj/land/outline.o: $(O)/gen/land.pb-c.h

# The stylesheet as a string.
$(O)/gen/style.c: plugins/pagescan/report/style.css
	$(call say,SED,$@)
	$(Q)mkdir -p $(O)/gen
	$(Q)(echo 'extern const char report_style[];' && echo 'const char report_style[] =' && \
		sed 's/["\\]/\\&/g; s/.*/"&\\n"/' $< && echo ';') >$@

$(O)/obj/report/style.o: $(O)/gen/style.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

setup:
	@scripts/setup

# What is missing gets installed first; then a second make sees compilers and headers that were not there before.
demo: setup
	@$(MAKE) -s all $(O)/demo-writer
	@demo/run $(MIB) $(RATE)

MIB ?= 1024
RATE ?= 1000

$(O)/demo-writer: demo/writer.c
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

check: setup
	@$(MAKE) -s all $(O)/demo-writer
	@$(MAKE) -s -C test/unit
	@$(MAKE) -s -C test/unit SAN=1
	@$(MAKE) -s -C test/fuzz
	@$(MAKE) -s -C test/zdtm
	@$(MAKE) -s -C test/torture
	@test/check

# Torture for as long as you like: make torture SEED=n SECONDS=s. Every failure names its seed.
torture: setup
	@$(MAKE) -s all
	@$(MAKE) -s -C test/torture
	@test/torture/run $(if $(SEED),--seed $(SEED)) --seconds $(SECONDS)

SECONDS ?= 600

# Each rule broken on purpose, to see that a test notices.
mutants: setup
	@$(MAKE) -s all
	@$(MAKE) -s -C test/unit
	@$(MAKE) -s -C test/unit SAN=1
	@$(MAKE) -s -C test/zdtm
	@$(MAKE) -s -C test/torture
	@test/torture/mutants/run

# For arm64 into $(O)/arm64, against the userland of the machine that test/vm/run --arch arm64 boots.
ARM64_ROOT := build/vm/arm64/root
ARM64 := CC='clang --target=aarch64-linux-gnu --sysroot=$(CURDIR)/$(ARM64_ROOT)' LDFLAGS=-fuse-ld=lld

arm64: setup
	@test/vm/tree 6.12 arm64
	@$(MAKE) -s all $(O)/arm64/demo-writer O=$(O)/arm64 $(ARM64) \
		CRIU_CPPFLAGS='-isystem $(ARM64_ROOT)/usr/include/compel'
	@$(MAKE) -s -C test/zdtm O=$(abspath $(O)/arm64/test/zdtm) $(ARM64)

# The newest CRIU among Debian's packages; see docs/compatibility.md.
check-criu: PAGESCAN_CRIU := $(CURDIR)/build/criu-next/criu
check-criu: setup
	@scripts/setup forky build/criu-next
	@$(MAKE) -s all
	@$(MAKE) -s -C test/zdtm
	@$(MAKE) -s -C test/torture
	@test/zdtm/run --pre 3 --pre-mode mixed
	@test/zdtm/run --pre 2 --pre-mode read
	@test/zdtm/run --snaps 2
	@CRIU_FAULT=135 test/zdtm/run --pre 2 --pre-mode splice
	@test/failure/run
	@test/torture/run --seconds 60

# Other kernels, in emulated machines; see docs/compatibility.md.
check-vm: setup arm64
	@$(MAKE) -s all $(O)/demo-writer
	@$(MAKE) -s -C test/zdtm
	@test/vm/matrix

# All container runtimes, and the packages that serve them; `make check` runs what needs runc alone. See docs/containers.md.
check-runtimes:
	@scripts/setup runtimes
	@$(MAKE) -s all deb
	@test/runtimes/run

# By Debian's newest criu: before 4.2 it dumps no TCP socket on Linux 6.16 and later.
check-apps: PAGESCAN_CRIU := $(CURDIR)/build/criu-next/criu
check-apps:
	@scripts/setup apps
	@scripts/setup forky build/criu-next
	@$(MAKE) -s all
	@test/apps/run

# CRIU's own tests, of its source; test/upstream/run takes a part of them, and goes on where it was stopped.
check-zdtm: setup
	@test/upstream/source $(CRIU)
	@$(MAKE) -s all
	@test/upstream/run

bench: setup
	@$(MAKE) -s all $(O)/demo-writer
	@bench/run
	@bench/live
	@bench/live --growth --repeats 7
	@bench/move

lint: all
	@test/lint

# Manuals, where they are installed; the library's is install-dev's (packaging/packages.mk).
PAGES = $(foreach s,5 7 8,$(patsubst docs/man/%,$(MANDIR)/man$(s)/%,$(wildcard docs/man/*.$(s))))

LAUNCHER = $(DESTDIR)$(LAUNCHERDIR)/criu
# A criu that is not the launcher stays: this is not the way to replace one.
is_launcher = grep -qs 'pagescan criu' $(LAUNCHER)

install: all $(if $(LAUNCHERDIR),$(O)/launcher)
ifneq ($(LAUNCHERDIR),)
	@[ ! -e $(LAUNCHER) ] || $(is_launcher) || { echo '$(LAUNCHER) is there and not the launcher' >&2; false; }
	install -d $(DESTDIR)$(LAUNCHERDIR)
	install -m 755 $(O)/launcher $(LAUNCHER)
endif
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(PLUGINDIR) $(DESTDIR)$(COMPLETIONDIR) \
		$(addprefix $(DESTDIR)$(MANDIR)/man,5 7 8)
	install -m 755 $(O)/pagescan $(DESTDIR)$(SBINDIR)/pagescan
	install -m 755 $(O)/pagescan_plugin.so $(DESTDIR)$(PLUGINDIR)/pagescan_plugin.so
	install -m 644 docs/man/*.5 $(DESTDIR)$(MANDIR)/man5
	install -m 644 docs/man/*.7 $(DESTDIR)$(MANDIR)/man7
	install -m 644 docs/man/*.8 $(DESTDIR)$(MANDIR)/man8
	install -m 644 scripts/completion.bash $(DESTDIR)$(COMPLETIONDIR)/pagescan

uninstall:
ifneq ($(LAUNCHERDIR),)
	if $(is_launcher); then rm $(LAUNCHER); fi
endif
	rm -f $(DESTDIR)$(SBINDIR)/pagescan $(DESTDIR)$(PLUGINDIR)/pagescan_plugin.so \
		$(DESTDIR)$(COMPLETIONDIR)/pagescan $(addprefix $(DESTDIR),$(PAGES))

clean:
	rm -rf $(O)/obj $(O)/gen $(O)/lint $(O)/pagescan $(O)/pagescan_plugin.so $(O)/demo-writer $(O)/test $(O)/demo \
		$(O)/bench $(O)/arm64 $(O)/lib $(O)/launcher $(O)/deb

distclean:
	rm -rf build $(O)

include packaging/packages.mk

.PHONY: all help setup demo check check-criu check-vm check-runtimes check-apps check-zdtm arm64 torture mutants bench \
	lint install uninstall clean distclean

-include $(wildcard $(O)/obj/*/*.d)
