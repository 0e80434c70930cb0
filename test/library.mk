# SPDX-License-Identifier: GPL-2.0-only
#
# The product's rooms but cmd, and of bind what needs nothing of CRIU, as a library for programs that call their functions:
# $(O)/obj/libpagescan.a, to be linked with $(LIBS). Whoever includes this has set ROOT, O, CC, the flags of its own in
# CFLAGS, and COMMAND_DIR, where the pagescan command is to be looked for.

.DEFAULT_GOAL := all

GEN := $(ROOT)/build/gen
LIBS := -lprotobuf-c -lcap-ng -lseccomp -llz4 -ldl -pthread

override CFLAGS += -std=gnu11 -MMD -MP -Wall -Wextra -Wshadow -Wstrict-prototypes $(WERROR)
override CPPFLAGS += -D_GNU_SOURCE -DPAGESCAN_SBINDIR='"$(COMMAND_DIR)"' -I$(ROOT)/criu/include \
	-I$(ROOT)/plugins/pagescan -I$(GEN)

ifneq ($(V),1)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2);
endif

SOURCES := $(foreach room,scan track audit image copy land move,$(wildcard $(ROOT)/plugins/pagescan/$(room)/*.c)) \
	$(addprefix $(ROOT)/plugins/pagescan/bind/,slots.c smaps.c vmread.c vmflags.c vma_iter.c btf.c) \
	$(addprefix $(GEN)/,pagescan.pb-c.c images.pb-c.c criu.pb-c.c land.pb-c.c)
OBJS := $(patsubst %.c,$(O)/obj/%.o,$(notdir $(SOURCES)))
vpath %.c $(sort $(dir $(SOURCES)))

$(O)/obj/libpagescan.a: $(OBJS)
	$(Q)rm -f $@
	$(Q)ar rcs $@ $^

$(O)/obj/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

-include $(wildcard $(O)/*.d $(O)/obj/*.d)
