// SPDX-License-Identifier: GPL-2.0-only
/*
 * Three image directories, each the parent of the one before it, whose pagemap images hold anything (the input's parts,
 * behind their lengths; no length, no image): they are refused with a reason, or every address is found where a plain
 * search finds it. Where the reason is that a file of pages is not as long as it is told to be, it is made so.
 */
#include <errno.h>

#include <pagescan.h>

#include "audit/chain.h"
#include "fuzz.h"

#define LAYERS 3
#define PID    7

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	for (int i = 0; i < LAYERS; i++) {
		char name[32], parent[32];

		snprintf(name, sizeof(name), "%d", i);
		MUST(!mkdirat(fuzz_dir(), name, 0700));
		snprintf(name, sizeof(name), "%d/parent", i);
		snprintf(parent, sizeof(parent), "../%d", i + 1);
		MUST(!symlinkat(parent, fuzz_dir(), name));
		snprintf(name, sizeof(name), "%d/pages-1.img", i);
		fuzz_file(name, "", 0);
	}
	return 0;
}

static bool holds(const struct extent *extent, uint64_t addr)
{
	return extent->start <= addr && addr < extent->end;
}

static void check_find(const struct chain *chain, uint64_t addr)
{
	const struct extent *extent = NULL;
	struct chain_piece piece;
	size_t layer = 0;
	int err = chain_find(chain, addr, &piece);

	for (; layer < chain->nr; layer++) {
		extent = NULL;
		for (size_t i = 0; i < chain->v[layer].nr && !extent; i++) {
			if (holds(&chain->v[layer].v[i], addr))
				extent = &chain->v[layer].v[i];
		}
		if (!extent || extent->held)
			break;
	}
	if (layer == chain->nr || !extent) {
		MUST(err == -ENOENT);
		return;
	}
	MUST(!err && piece.fd == chain->v[layer].pages_fd);
	MUST(piece.offset == extent->offset + (addr - extent->start));
	MUST(piece.end > addr && piece.end <= extent->end);
}

static void check_layer(const struct layer *layer)
{
	const uint64_t page = pagescan_page_size();

	MUST(layer->pages_fd >= 0);
	for (size_t i = 0; i < layer->nr; i++) {
		const struct extent *extent = &layer->v[i];

		MUST(extent->start <= extent->end && !(extent->start % page) && !(extent->end % page));
		MUST(!i || (extent[-1].end <= extent->start && extent[-1].offset <= extent->offset));
		/* What is held lies where a file can have it. */
		MUST(!extent->held ||
		     (extent->offset <= INT64_MAX && extent->end - extent->start <= INT64_MAX - extent->offset));
	}
}

/* Returns whether a file has got the length that the reason tells. */
static bool make_as_long(const struct reason *why)
{
	unsigned long long bytes;
	char name[32];
	int layer, fd, err;

	if (sscanf(why->text, "pages-1.img, %d directories down the chain: not of the %llu bytes", &layer, &bytes) != 2)
		return false;
	snprintf(name, sizeof(name), "%d/pages-1.img", layer);
	fd = openat(fuzz_dir(), name, O_WRONLY | O_CLOEXEC);
	MUST(fd >= 0);
	err = ftruncate(fd, (off_t)bytes);
	close(fd);
	return !err;
}

static void check_chain(void)
{
	struct reason why = { "" };
	struct chain chain;
	int err = chain_open(&chain, fuzz_dir(), "0", PID, &why);

	for (int i = 0; i < LAYERS && err && make_as_long(&why); i++) {
		why.text[0] = '\0';
		err = chain_open(&chain, fuzz_dir(), "0", PID, &why);
	}

	if (err) {
		MUST(err < 0 && why.text[0] && !chain.v && !chain.nr);
		return;
	}
	MUST(chain.nr && chain.nr <= LAYERS);
	for (size_t l = 0; l < chain.nr; l++) {
		check_layer(&chain.v[l]);
		for (size_t i = 0; i < chain.v[l].nr; i++) {
			check_find(&chain, chain.v[l].v[i].start);
			check_find(&chain, chain.v[l].v[i].end);
			check_find(&chain, chain.v[l].v[i].end - 1);
		}
	}
	chain_close(&chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	const int fds = open_fds();

	for (int i = 0; i < LAYERS; i++) {
		static uint8_t image[UINT16_MAX];
		uint16_t len = 0;
		char name[32];

		take(&input, &len, sizeof(len));
		snprintf(name, sizeof(name), "%d/pagemap-%d.img", i, PID);
		if (len)
			fuzz_file(name, image, take(&input, image, len));
		else
			unlinkat(fuzz_dir(), name, 0);
	}
	check_chain();
	MUST(open_fds() == fds);
	return 0;
}
