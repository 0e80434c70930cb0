// SPDX-License-Identifier: GPL-2.0-only
/*
 * query.c - what a query means, and its translation into the kernel's inverted masks. Pure; calls nothing.
 */
#include <errno.h>

#include "uapi.h"

bool pagescan_query_match(const struct pagescan_query *query, uint64_t categories)
{
	if ((categories & query->required) != query->required)
		return false;
	if (categories & query->excluded)
		return false;
	return !query->anyof || (categories & query->anyof);
}

int pagescan_query_to_kernel(const struct pagescan_query *query, struct pagescan_ioctl_arg *arg)
{
	uint64_t anyof = query->anyof & ~query->excluded;

	if ((query->required | query->anyof | query->excluded | query->returned) & ~PAGESCAN_ALL)
		return -EINVAL;
	if (query->required & query->excluded)
		return -ENODATA;
	/*
	 * The kernel looks at anyof after the inversion: an excluded category left in it would match every page that
	 * lacks it. Nothing excluded can be "any of", so it goes; if that leaves no choice, no page matches.
	 */
	if (query->anyof && !anyof)
		return -ENODATA;

	arg->category_inverted = query->excluded;
	arg->category_mask = query->required | query->excluded;
	arg->category_anyof_mask = anyof;
	arg->return_mask = query->returned;
	return 0;
}
