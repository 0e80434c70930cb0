// SPDX-License-Identifier: GPL-2.0-only
/*
 * peer.c - run a command elsewhere, and hear what it says. Calls wire, the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "peer.h"

bool peer_parse(struct peer *peer, char *destination)
{
	char *colon = strchr(destination, ':');

	/* An IPv6 address stands in brackets. */
	if (*destination == '[' && (colon = strstr(destination, "]:")))
		colon++;
	if (!colon || colon == destination || !colon[1]) {
		complain("'%s' is not a destination: it wants HOST:DIRECTORY", destination);
		return false;
	}
	*colon = '\0';
	peer->host = destination;
	peer->path = colon + 1;
	return true;
}

/* As the shell there wants it: the remote end of ssh joins its arguments with spaces. Returns a string of the caller's. */
static char *quoted(const char *text)
{
	static const char apostrophe[] = "'\\''";
	char *all = malloc(4 * strlen(text) + 3), *to = all;

	if (!all)
		return NULL;
	*to++ = '\'';
	for (; *text; text++) {
		if (*text == '\'')
			to = mempcpy(to, apostrophe, sizeof(apostrophe) - 1);
		else
			*to++ = *text;
	}
	*to++ = '\'';
	*to = '\0';
	return all;
}

void peer_free(char **argv)
{
	for (char **at = argv; at && *at; at++)
		free(*at);
	free(argv);
}

char **peer_command(const struct peer *peer, char *const options[])
{
	size_t nr = 0, nr_options = 0;
	char **argv, *words = strdup(peer->rsh), *state = NULL;

	while (options[nr_options])
		nr_options++;
	argv = calloc(strlen(peer->rsh) / 2 + nr_options + 8, sizeof(*argv));
	if (!argv || !words) {
		free(argv);
		free(words);
		return NULL;
	}
	for (char *word = strtok_r(words, " ", &state); word; word = strtok_r(NULL, " ", &state))
		argv[nr++] = strdup(word);
	free(words);
	argv[nr++] = strdup(peer->host);
	argv[nr++] = quoted(peer->program);
	argv[nr++] = strdup("receive");
	argv[nr++] = strdup("-D");
	argv[nr++] = quoted(peer->path);
	for (size_t i = 0; i < nr_options; i++)
		argv[nr++] = quoted(options[i]);
	for (size_t i = 0; i < nr; i++) {
		if (!argv[i]) {
			for (; i < nr; i++)
				free(argv[i]);
			peer_free(argv);
			return NULL;
		}
	}
	return argv;
}

pid_t peer_start(char **argv, int *in, int *out)
{
	int to[2] = { -1, -1 }, from[2] = { -1, -1 };
	pid_t child = -1;

	if (!pipe2(to, O_CLOEXEC) && !pipe2(from, O_CLOEXEC))
		child = fork();
	if (!child) {
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		signal(SIGINT, SIG_IGN);
		signal(SIGQUIT, SIG_IGN);
		signal(SIGPIPE, SIG_DFL);
		execvp(*argv, argv);
		complain("cannot run %s: %s", *argv, strerror(errno));
		_exit(127);
	}
	if (child < 0)
		complain("cannot run %s: %s", *argv, strerror(errno));
	if (to[0] >= 0)
		close(to[0]);
	if (from[1] >= 0)
		close(from[1]);
	*in = from[0];
	*out = to[1];
	return child;
}

int peer_hear(struct wire *wire, enum wire_type wanted, struct reason *why)
{
	for (;;) {
		int type = wire_receive(wire, why);

		if (type < 0 || type == (int)wanted)
			return type < 0 ? type : 0;
		if (type == WIRE_FAILED)
			return reason_set(why, -EREMOTEIO, "%.200s", (const char *)wire->buffer);
		if (type == WIRE_NOTE && wire->len)
			complain("%s", (const char *)wire->buffer);
		if (type != WIRE_NOTE && type != WIRE_TAKEN)
			return reason_set(why, -EPROTO, "the destination says what makes no sense");
	}
}
