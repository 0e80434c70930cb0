/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pagescan-criu.h - everything in CRIU that the plugin relies on, and how each thing is checked at run time.
 *
 * Written against CRIU 4.0 to 4.2.1. Where a check fails the plugin says which one in CRIU's log and stands aside: CRIU
 * goes on as it would without it. Only plugins/pagescan/bind includes this file.
 *
 *   relied on                                                       checked by
 *   ------------------------------------------------------------    ------------------------------------------------
 *   the executable exports the functions below (-rdynamic)          dlsym of each (criu_find)
 *   their arguments (compel_prepare has one more since 4.2.1)       what the system calls in the task return (uffd.c)
 *   the first fields of libcompel's struct infect_ctx               the socket there is one of libcompel's (remote.c)
 *   it imports the libc functions it talks to the kernel with       slots_find: all of them must be there before one
 *   through JUMP_SLOT or GLOB_DAT relocations                       is changed (device_install)
 *   a task is seized and stopped when its smaps is opened through   TracerPid of the task is this process (round.c);
 *   a descriptor of its /proc directory (parse_smaps)               not seen: all of it counts as written (device.c)
 *   pagemap is opened through that descriptor, too                  a question about an unknown one gets the kernel's
 *                                                                   answer with everything dirty (device.c)
 *   memory is asked about by one mask (pmc_fill), or by pread       any other mask likewise; if it selects by
 *                                                                   soft-dirty, it is refused (device.c)
 *   tracking is reset by writing "4" to clear_refs, once a task     nothing is protected before; without it the round
 *   and round, after its pages are drained                          has no record and the next one is full
 *   clean pages are taken from the parent only with the parent      the directory behind the link must record exactly
 *   link of the image directory                                     the tracker's epoch (tracker.c)
 *   of smaps it reads the areas and their VmFlags only (parse_smaps)  all areas and flags are told as the real file has them,
 *   and of these the letters in vmflags.c                           test/zdtm: a restored process has the same (track_flags)
 *   PAUSE_DEVICES is called before the root task is stopped         without it smaps is read while frozen
 *   "stats-dump" is opened for writing last, and only on success    without it nothing is committed
 *   in a dump pagemap-PID.img is opened by openat() before the      not seen: clean pages are told as in pre-dumps
 *   first question about its task (open_page_local_xfer)            (round.c)
 *   PID is the last one of NSpid (vpid)                             no such task in the round: the same
 *   then the pagemaps of the parents by names and directories,      in another order, or for writing: they are not exchanged
 *   each before its file of pages, and the entries after it, of      (parents.c); other uses would find pages that refer to a
 *   which only addresses matter (check_pagehole_in_parent)          parent that is not there, and fail
 *   it is closed before inventory.img is opened for writing         another file, or one that is open: the dump fails
 *   (dump_one_task, write_img_inventory)                            (omit.c)
 *   inventory.img comes behind all pagemaps, before the tasks are   what is omitted later, or if it is not seen at all, is
 *   let go, and no restore begins without it                        completed at "stats-dump", or the inventory removed
 *   its entries ascend, each behind its length, as in 4.0 to 4.2    image/entries.c: the dump fails
 *   how pages are packed in the pages files of the parent           a field, a flag or a version that is not known: the
 *   is known here, and to a criu that leaves pages to it            round is a full one (round.c, image_check_pages)
 *   page_in_parent(false) tells whether clean pages are left to     missing: all are told; if it is wrong the images are
 *   the parent at all                                               right all the same
 *   cnt_add() counts pages for stats-dump                           missing: they are not counted
 *   features are cached in a file named criu.kdat                   an unknown name would be shared with plain criu:
 *                                                                   criu then trusts tracking it does not have, and
 *                                                                   its own reset fails with an error
 *   it knows the hook PAUSE_DEVICES, as it does from 4.0 on         the size of its table of hooks (plugin.c)
 */
/*
 * And in `criu restore`, by bind/landing.c, bind/locks.c and land/place.c. Where a check fails the memory that is held
 * ready is not used: CRIU maps and reads its own.
 *
 *   it imports mmap, mremap, preadv and syscall from libc           slots_find (landing.c)
 *   tasks are made by syscall(clone3) with the pid of the image     a task that was made otherwise has no memory of ours
 *   (clone-noasan.c)                                                and finds a mark wiped (place.c, MADV_WIPEONFORK)
 *   a task reserves a region for its private areas by               the size has to be what mm-PID.img gives (place.c)
 *   mmap(NULL, size, PROT_NONE) (mem.c, prepare_mappings)
 *   maps them in it, all, in the image's order, one behind the      each address, size, protection and flags have to be
 *   other (premap_priv_vmas); that has a parent chain of images     what the image gives (place.c)
 *   an area of a child at the place of one of its parent's is the   where only the parent's is to have huge pages it is
 *   parent's (prepare_cow_vmas), and is advised as the child's      not held ready (fill.c)
 *   goes on with the address that mmap returns                      it is the one that was asked for
 *   reads their pages by preadv(2) of pages files                   file, offset and address have to be those that the
 *   (process_async_reads)                                           page was read from (place.c)
 *   makes no other use of these pages before                        PAGESCAN_VERIFY=1 compares them
 *   a task maps memory of its own outside the region when it has    without it no line tells what was held ready
 *   its pages (sigreturn_restore)                                   (landing.c)
 *   the restorer unmaps all but that region (unmap_old_vmas)        test/zdtm: no area is there that was not before
 *   takes locks on files by fcntl(F_SETLKW) and flock(2) from       without them it waits for a lock as it would alone
 *   libc, in the tasks (file-lock.c, restore_file_lock)             (locks.c)
 *   `criu swrk FD` (crtools.c) finds a request at FD, whose type  what is no request to restore is not waited for: criu
 *   is its field 1, RESTORE being 2 (rpc.proto)                    restores from an empty directory, and fails
 *   as a service it runs the scripts of its configuration, too,    pagescan migrate and receive: CRIU 4.0, and a criu that
 *   if the client's notification succeeds (run_scripts)            tells that it got the configuration (container.c)
 *   --action-script runs at post-dump, while the tree is frozen,    pagescan migrate gets no answer, and the processes
 *   and its failure lets the tree go on (cr_dump_finish);           go on
 *   at post-restore, before anybody runs, and its failure ends
 *   what was restored (restore_root_task)
 */
#ifndef PAGESCAN_CRIU_H
#define PAGESCAN_CRIU_H

#include <stdbool.h>

#include <compel/infect.h>

/* CRIU's log levels (criu/include/log.h) and its printer. */
enum { CRIU_LOG_ERROR = 1, CRIU_LOG_WARN, CRIU_LOG_INFO, CRIU_LOG_DEBUG };

/* The functions of the criu executable that are called. See compel/infect.h and criu-plugin.h for their contracts. */
struct criu {
	/* Before CRIU 4.2.1 there is no second argument, and who is called without knowing it does not see it. */
	struct parasite_ctl *(*compel_prepare)(int pid, bool handle_rseq);
	int (*compel_syscall)(struct parasite_ctl *ctl, int nr, long *ret, unsigned long arg1, unsigned long arg2,
			      unsigned long arg3, unsigned long arg4, unsigned long arg5, unsigned long arg6);
	struct infect_ctx *(*compel_infect_ctx)(struct parasite_ctl *ctl);
	int (*compel_cure_local)(struct parasite_ctl *ctl);
	int (*criu_get_image_dir)(void);
	void (*print_on_level)(unsigned int level, const char *format, ...);
	/* These may be missing (NULL). Is a page of this kind left to the parent images, as far as options say? */
	bool (*page_in_parent)(bool dirty);
	/* Add to a counter of stats-dump. */
	void (*cnt_add)(int counter, unsigned long number);
};

/* Counters, of pages, the same since CRIU 1.0 (criu/include/stats.h). */
enum { CRIU_PAGES_SCANNED, CRIU_PAGES_SKIPPED_PARENT };

extern struct criu criu;

/* Find them. Returns NULL, or the name of the first one that is needed and that the running program does not export. */
const char *criu_find(void);

/* Names of files, as CRIU passes them to openat(). */
#define CRIU_STATS_DUMP	 "stats-dump"
#define CRIU_PARENT_LINK "parent"
#define CRIU_KDAT	 "criu.kdat"
#define CRIU_INVENTORY	 "inventory.img"
#define CRIU_PAGEMAP	 "pagemap-%d.img%n"
#define CRIU_PAGES	 "pages-%u.img%n"

#endif
