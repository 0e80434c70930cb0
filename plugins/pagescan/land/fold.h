/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fold.h - a round's pages go where those lie that they replace, so that a chain of many rounds is as quick to read as
 * one of two, and not larger than the memory.
 */
#ifndef PAGESCAN_LAND_FOLD_H
#define PAGESCAN_LAND_FOLD_H

#include "landing.h"

/*
 * Fold the round @source of @task: @dir is its directory, @pages its pages file, both open and the caller's. Of each of its
 * pages the pool holds this round's bytes already, or nothing; and it tells the round that the page was of before, or
 * @source's own if there was none.
 *
 * Pages that replace others are written over these, in the files of earlier rounds, and become pages in the parent here.
 * At every moment the images are a chain that holds the same memory: an older file gets bytes that this round overrides
 * still, and then this round's pagemap is replaced at one stroke. Where that cannot be, or would not save more than it
 * costs, all stays as it is. After either, @source and the pool's rounds tell where each page is. Returns 0; or a negative
 * errno: where it is is not known.
 */
int fold_round(const struct landing *landing, struct pool_task *task, int dir, int pages,
	       struct landing_source *source);

#endif
