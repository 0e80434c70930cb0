// SPDX-License-Identifier: GPL-2.0-only
/*
 * report.c - pagescan report DIR: a chain of rounds as a page for people. Calls report.
 */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "report/page.h"

static const char usage[] =
	"Usage: pagescan report [-o FILE] DIRECTORY\n"
	"Writes an HTML page about a chain of rounds: what each of them took, and which areas of memory were written\n"
	"when. DIRECTORY is what `pagescan dump -D` was given, or the images of the last round.\n\n"
	"  -o, --output FILE          where the page goes, instead of standard output\n";

/* Returns -1 to go on, or the exit status. */
static int parse(int argc, char **argv, const char **output)
{
	static const struct option known[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "o:h", known, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (option != 'o')
			return EXIT_USAGE;
		*output = optarg;
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* Half a page is none. Returns the exit status. */
static int write_file(const char *output, const char *images, const struct history *history, const struct map *map)
{
	FILE *out = fopen(output, "we");
	int err = out ? 0 : errno;

	if (out) {
		page_write(out, images, history, map);
		err = ferror(out) ? EIO : 0;
		if (fclose(out))
			err = errno;
		if (err)
			unlink(output);
	}
	if (!err)
		return EXIT_SUCCESS;
	complain("cannot write %s: %s", output, strerror(err));
	return EXIT_FAILED;
}

int cmd_report(int argc, char **argv)
{
	const char *output = NULL, *images;
	struct history history;
	struct reason why;
	struct map map;
	int status = parse(argc, argv, &output);

	if (status >= 0)
		return status;
	images = argv[optind];
	if (history_read(&history, images, &why)) {
		complain("%s", why.text);
		return EXIT_FAILED;
	}
	status = EXIT_FAILED;
	if (map_read(&map, &history, &why)) {
		complain("%s", why.text);
	} else {
		status = EXIT_SUCCESS;
		if (output)
			status = write_file(output, images, &history, &map);
		else
			page_write(stdout, images, &history, &map);
		map_fini(&map);
	}
	history_fini(&history);
	return status;
}
