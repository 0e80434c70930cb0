// SPDX-License-Identifier: GPL-2.0-only
/* The command line: --name=value or --name value, and --help. */
#include "zdtmtst.h"

static struct test_option *options;

void test_option_add(struct test_option *option)
{
	option->next = options;
	options = option;
}

static __attribute__((noreturn)) void usage(const char *what, const char *arg)
{
	fprintf(stderr, "%s%s%s\nby %s\n", what, arg, test_doc, test_author);
	for (struct test_option *o = options; o; o = o->next)
		fprintf(stderr, "  --%s=%s\t%s%s\n", o->name, o->type, o->doc, o->required ? " (required)" : "");
	exit(1);
}

static bool parse_bool(const char *value, int *result)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false", "true" };

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(value, words[i])) {
			*result = i & 1;
			return true;
		}
	}
	return false;
}

static bool parse(struct test_option *o, char *value)
{
	char *end = value;

	if (!strcmp(o->type, "string")) {
		*o->as_string = value;
		return *value;
	}
	if (!strcmp(o->type, "bool"))
		return parse_bool(value, o->as_bool);
	if (!strcmp(o->type, "int"))
		*o->as_int = strtol(value, &end, 0);
	else
		*o->as_uint = strtoul(value, &end, 0);
	return *value && !*end;
}

static struct test_option *find(const char *name, size_t len)
{
	for (struct test_option *o = options; o; o = o->next)
		if (strlen(o->name) == len && !strncmp(name, o->name, len))
			return o;
	return NULL;
}

void test_options_parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct test_option *o = NULL;
		char *value = strchr(argv[i], '=');

		if (!strcmp(argv[i], "--help"))
			usage("", "");
		if (!strncmp(argv[i], "--", 2))
			o = find(argv[i] + 2, strcspn(argv[i] + 2, "="));
		if (!o)
			usage(argv[i], ": unknown option\n");
		if (value)
			value++;
		else if (!strcmp(o->type, "bool"))
			value = (char[]){ "on" };
		else
			value = i + 1 < argc ? argv[++i] : (char[]){ "" };
		if (!parse(o, value))
			usage(argv[i], ": bad value\n");
		o->required = false;
	}
	for (struct test_option *o = options; o; o = o->next)
		if (o->required)
			usage(o->name, ": option is missing\n");
}
