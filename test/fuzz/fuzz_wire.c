// SPDX-License-Identifier: GPL-2.0-only
/*
 * The destination of a migration against a source that says anything: nothing is made outside its directory, in there
 * nothing but directories with files and links to the one before, and no descriptor leaks.
 *
 * An input is frames in short (a byte for the type, one for the length, so many bytes); from a type of 0xff on it is
 * what comes over the wire as it is. Those with 0x80 in their type come by a connection of its own, at the same time.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <ftw.h>
#include <pagescan.h>

#include "fuzz.h"
#include "move/receive.h"

#define BASE "base"

#define ASIDE 0x80

/* Where a page is that the source may tell by its digest. */
#define HELD "held"

static struct wire wire, aside;
static struct known held = { .dir = -1 };

/* What comes over a wire. */
struct bytes {
	uint8_t *v;
	size_t len;
};

static void wire_bytes(struct input *input, struct bytes *here, struct bytes *there)
{
	while (input->len) {
		const uint8_t type = take_byte(input);
		struct bytes *to = type & ASIDE ? there : here;
		uint32_t head[4] = { htole32(type & ~ASIDE), 0, 0, 0 };
		uint8_t content[UINT8_MAX];
		size_t content_len;

		if (type == 0xff) {
			here->len += take(input, here->v + here->len, input->len);
			return;
		}
		content_len = take_byte(input);
		content_len = take(input, content, content_len);
		head[2] = htole32((uint32_t)content_len);
		memcpy(to->v + to->len, head, sizeof(head));
		memcpy(to->v + to->len + sizeof(head), content, content_len);
		to->len += sizeof(head) + content_len;
	}
}

/* The thread of the other connection. When it ends nobody waits for more. */
static void *receive_aside(void *arg)
{
	struct receive *receive = arg;
	unsigned char *unpacked = malloc(WIRE_MAX);
	struct reason why = { "" };
	int type, err = 0;

	MUST(unpacked);
	while (!err && (type = wire_receive(&aside, &why)) > 0)
		err = receive_pages(receive, &aside, (enum wire_type)type, unpacked, &why);
	MUST((err || type < 0) && why.text[0]);
	receive_fail(receive, err ? err : type, &why);
	free(unpacked);
	return NULL;
}

/* What the receiver may have made, and nothing else. */
static int check_and_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char target[32];

	(void)st;
	switch (ftw->level) {
	case 0:
	case 1:
		MUST(type == FTW_DP);
		break;
	default:
		MUST(ftw->level == 2 && (type == FTW_F || type == FTW_SL || type == FTW_SLN));
		if (type != FTW_F) {
			const ssize_t len = readlink(path, target, sizeof(target));

			MUST(!strcmp(path + ftw->base, "parent") && len > 3 && !memcmp(target, "../", 3));
			MUST(!memchr(target + 3, '/', (size_t)len - 3) && !memchr(target + 3, '.', (size_t)len - 3));
		}
	}
	MUST(!remove(path));
	return 0;
}

/* How many names the directory has that the program was started in. */
static int names(void)
{
	struct dirent **list;
	const int nr = scandir(".", &list, NULL, NULL);

	MUST(nr >= 0);
	for (int i = 0; i < nr; i++)
		free(list[i]);
	free(list);
	return nr;
}

static void hold_a_page(void)
{
	const size_t size = pagescan_page_size();
	uint8_t *page = malloc(size);
	struct reason why;

	MUST(page && !mkdir(HELD, 0700));
	memset(page, 1, size);
	fuzz_file(HELD "/pages-1.img", page, size);
	free(page);
	wire.out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	MUST(wire.out >= 0 && !known_offer(&held, HELD, &wire, &why) && held.nr == 1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	MUST(!wire_init(&wire, -1, -1, 0) && !wire_init(&aside, -1, -1, 0) && fuzz_dir() >= 0);
	hold_a_page();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct bytes bytes = { malloc(16 * size + 1), 0 }, other = { malloc(16 * size + 1), 0 };
	pthread_t thread;
	int before;
	const int fds = open_fds();
	struct receive receive;
	struct reason why = { "" };
	int base, type, err = 0;

	MUST(bytes.v && other.v && !mkdir(BASE, 0700));
	wire_bytes(&input, &bytes, &other);
	fuzz_file("bytes", bytes.v, bytes.len);
	fuzz_file("other", other.v, other.len);
	before = names();
	wire.in = open("bytes", O_RDONLY | O_CLOEXEC);
	aside.in = open("other", O_RDONLY | O_CLOEXEC);
	base = open(BASE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(wire.in >= 0 && base >= 0 && !receive_init(&receive, base));
	receive.threads = other.len;
	receive.known = &held;
	/* Each may wait for the other. */
	receive.patience = 5;
	MUST(!receive.threads || !pthread_create(&thread, NULL, receive_aside, &receive));
	while (!err && (type = wire_receive(&wire, &why)) > 0) {
		MUST(wire.len <= WIRE_MAX && !wire.buffer[wire.len]);
		err = receive_frame(&receive, &wire, (enum wire_type)type, &why);
		MUST(err <= 0);
	}
	/* A sentence for each failure. */
	MUST((err || type < 0) && why.text[0]);
	receive_fail(&receive, -ECONNRESET, &why);
	if (receive.threads)
		pthread_join(thread, NULL);
	receive_fini(&receive);
	close(base);
	close(wire.in);
	close(aside.in);
	free(bytes.v);
	free(other.v);
	MUST(names() == before && open_fds() == fds);
	MUST(!nftw(BASE, check_and_remove, 8, FTW_DEPTH | FTW_PHYS));
	return 0;
}
