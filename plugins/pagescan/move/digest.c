// SPDX-License-Identifier: GPL-2.0-only
/*
 * digest.c - SHA-256. Calls GnuTLS, which is loaded when it is needed, as tls.c tells.
 */
#include <dlfcn.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "digest.h"
#include "tls.h"

static __typeof__(gnutls_hash_fast) *hash;

int digest_load(struct reason *why)
{
	void *library = hash ? NULL : dlopen(TLS_LIBRARY, RTLD_NOW);

	if (library)
		*(void **)&hash = dlsym(library, "gnutls_hash_fast");
	return hash ? 0 : reason_set(why, -ENOENT, "--base needs GnuTLS: %s", dlerror());
}

bool digest(const void *data, size_t len, unsigned char to[DIGEST])
{
	return hash(GNUTLS_DIG_SHA256, data, len, to) >= 0;
}
