# SPDX-License-Identifier: GPL-2.0-only
#
# packages.mk - what is handed out: the scan room as a library for other programs, the release tarball, Debian's
# packages. Included by the Makefile.

LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

# The library's interface; a change that breaks programs linked with it raises the number.
SONAME := libpagescan.so.0
SHARED := $(SONAME).$(VERSION)

# What pagescan.h declares, and no more. Compiled anew: the plugin's own must not be seen in CRIU's process.
DEV_OBJS := $(addprefix $(O)/lib/,pagemap.o probe.o query.o regions.o walk.o)
DEV := $(O)/lib/$(SHARED) $(O)/lib/libpagescan.a $(O)/lib/libpagescan.pc

library: $(DEV)

$(O)/lib/%.o: plugins/pagescan/scan/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fvisibility=default -c -o $@ $<

$(O)/lib/$(SHARED): $(DEV_OBJS) packaging/libpagescan.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script,packaging/libpagescan.map -Wl,-z,defs $(CFLAGS) \
		$(LDFLAGS) -o $@ $(DEV_OBJS)

$(O)/lib/libpagescan.a: $(DEV_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

# Made anew every time: make does not see that a directory was named otherwise.
$(O)/launcher $(O)/lib/libpagescan.pc: FORCE
	$(Q)mkdir -p $(@D)
	$(Q)sed -e 's|@VERSION@|$(VERSION)|' -e 's|@PREFIX@|$(PREFIX)|' -e 's|@SBINDIR@|$(SBINDIR)|' \
		-e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
		$(wildcard scripts/$(@F).in packaging/$(@F).in) >$@

install-dev: library
	install -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(PKGCONFIGDIR) $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(MANDIR)/man3
	install -m 644 $(O)/lib/$(SHARED) $(O)/lib/libpagescan.a $(DESTDIR)$(LIBDIR)
	ln -sf $(SHARED) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libpagescan.so
	install -m 644 $(O)/lib/libpagescan.pc $(DESTDIR)$(PKGCONFIGDIR)
	install -m 644 criu/include/pagescan.h $(DESTDIR)$(INCLUDEDIR)
	install -m 644 docs/man/pagescan.3 $(DESTDIR)$(MANDIR)/man3

uninstall-dev:
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(SHARED) $(SONAME) libpagescan.so libpagescan.a) \
		$(DESTDIR)$(PKGCONFIGDIR)/libpagescan.pc $(DESTDIR)$(INCLUDEDIR)/pagescan.h \
		$(DESTDIR)$(MANDIR)/man3/pagescan.3

RELEASE := criu-pagescan-$(VERSION)

dist:
	$(Q)mkdir -p $(O)
	$(Q)git archive --prefix=$(RELEASE)/ -o $(O)/$(RELEASE).tar.gz HEAD
	@echo $(O)/$(RELEASE).tar.gz

deb:
	@scripts/setup packages
	@packaging/deb $(RELEASE) $(O)/deb

check-packages:
	@scripts/setup trees
	@$(MAKE) -s all
	@test/packages/run

FORCE:

.PHONY: FORCE library install-dev uninstall-dev dist deb check-packages

-include $(wildcard $(O)/lib/*.d)
