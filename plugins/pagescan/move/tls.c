// SPDX-License-Identifier: GPL-2.0-only
/*
 * tls.c - TLS 1.3 with a key that both ends have. Calls GnuTLS.
 *
 * GnuTLS is loaded when it is first needed: linked, it would make each start of this program take three times as long, and
 * criu's scripts, which are this program, run while the processes stand still.
 */
#include <dlfcn.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls.h"

#define CALLS(X)                               \
	X(auth_get_type)                       \
	X(credentials_set)                     \
	X(deinit)                              \
	X(handshake)                           \
	X(init)                                \
	X(malloc)                              \
	X(priority_set_direct)                 \
	X(psk_allocate_client_credentials)     \
	X(psk_allocate_server_credentials)     \
	X(psk_free_client_credentials)         \
	X(psk_free_server_credentials)         \
	X(psk_set_client_credentials)          \
	X(psk_set_server_credentials_function) \
	X(record_get_direction)                \
	X(record_recv)                         \
	X(record_send)                         \
	X(session_get_ptr)                     \
	X(session_set_ptr)                     \
	X(strerror)                            \
	X(transport_set_int2)

/* Of @malloc, a variable, the address, too. */
static struct {
#define X(name) __typeof__(gnutls_##name) *(name);
	CALLS(X)
#undef X
} gnutls;

/*
 * There are no certificates, so nothing can be accepted but the key; keys are exchanged beside it all the same. GnuTLS wants
 * to hear of a signature that it will not make.
 */
#define PRIORITY                                                   \
	"NONE:+VERS-TLS1.3:+AES-128-GCM:+CHACHA20-POLY1305:+AEAD:" \
	"+ECDHE-PSK:+GROUP-X25519:+GROUP-SECP256R1:+SIGN-ECDSA-SECP256R1-SHA256"

/* Who has the key has to have a name. */
#define NAME "pagescan"

struct tls {
	int sock;
	bool server;
	gnutls_session_t session;
	gnutls_psk_server_credentials_t server_credentials;
	gnutls_psk_client_credentials_t client_credentials;
	unsigned char key[TLS_KEY];
};

static int load(struct reason *why)
{
	static bool loaded;
	void *library = loaded ? NULL : dlopen(TLS_LIBRARY, RTLD_NOW);

	if (loaded)
		return 0;
	if (!library)
		return reason_set(why, -ENOENT, "--tcp needs GnuTLS: %s", dlerror());
#define X(name)                                                   \
	*(void **)&gnutls.name = dlsym(library, "gnutls_" #name); \
	if (!gnutls.name)                                         \
		return reason_set(why, -ENOENT, "--tcp needs another GnuTLS: gnutls_%s is lacking", #name);
	CALLS(X)
#undef X
	loaded = true;
	return 0;
}

/* The client says who it is, and then has to prove that it knows this key. */
static int key_of(gnutls_session_t session, const char *name, gnutls_datum_t *key)
{
	const struct tls *tls = gnutls.session_get_ptr(session);

	if (strcmp(name, NAME) != 0)
		return GNUTLS_E_INSUFFICIENT_CREDENTIALS;
	key->data = (*gnutls.malloc)(TLS_KEY);
	if (!key->data)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(key->data, tls->key, TLS_KEY);
	key->size = TLS_KEY;
	return 0;
}

static int set_key(struct tls *tls)
{
	const gnutls_datum_t key = { tls->key, TLS_KEY };
	int err;

	if (tls->server) {
		err = gnutls.psk_allocate_server_credentials(&tls->server_credentials);
		if (err)
			return err;
		gnutls.psk_set_server_credentials_function(tls->server_credentials, key_of);
		return gnutls.credentials_set(tls->session, GNUTLS_CRD_PSK, tls->server_credentials);
	}
	err = gnutls.psk_allocate_client_credentials(&tls->client_credentials);
	if (!err)
		err = gnutls.psk_set_client_credentials(tls->client_credentials, NAME, &key, GNUTLS_PSK_KEY_RAW);
	return err ? err : gnutls.credentials_set(tls->session, GNUTLS_CRD_PSK, tls->client_credentials);
}

static void release(struct tls *tls)
{
	if (tls->session)
		gnutls.deinit(tls->session);
	if (tls->server_credentials)
		gnutls.psk_free_server_credentials(tls->server_credentials);
	if (tls->client_credentials)
		gnutls.psk_free_client_credentials(tls->client_credentials);
	explicit_bzero(tls->key, sizeof(tls->key));
	free(tls);
}

struct tls *tls_open(int sock, bool server, const unsigned char key[TLS_KEY], struct reason *why)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	int err;

	if (!tls)
		reason_set(why, 0, "out of memory");
	if (!tls || load(why)) {
		free(tls);
		return NULL;
	}
	tls->sock = sock;
	tls->server = server;
	memcpy(tls->key, key, TLS_KEY);
	err = gnutls.init(&tls->session, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
						 GNUTLS_NO_TICKETS);
	if (!err)
		err = gnutls.priority_set_direct(tls->session, PRIORITY, NULL);
	if (!err)
		err = set_key(tls);
	if (err) {
		reason_set(why, 0, "GnuTLS: %s", gnutls.strerror(err));
		release(tls);
		return NULL;
	}
	gnutls.session_set_ptr(tls->session, tls);
	gnutls.transport_set_int2(tls->session, sock, sock);
	return tls;
}

void tls_close(struct tls *tls)
{
	close(tls->sock);
	release(tls);
}

int tls_sock(const struct tls *tls)
{
	return tls->sock;
}

/* An errno for what GnuTLS says. */
static int told(ssize_t err)
{
	switch (err) {
	case GNUTLS_E_AGAIN:
	case GNUTLS_E_INTERRUPTED:
		return -EAGAIN;
	case GNUTLS_E_PUSH_ERROR:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PREMATURE_TERMINATION:
		return -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int tls_handshake(struct tls *tls, short *events, struct reason *why)
{
	const int err = gnutls.handshake(tls->session);

	*events = gnutls.record_get_direction(tls->session) ? POLLOUT : POLLIN;
	if (err && told(err) == -EAGAIN)
		return -EAGAIN;
	if (err)
		return reason_set(why, told(err), "TLS: %s", gnutls.strerror(err));
	if (gnutls.auth_get_type(tls->session) != GNUTLS_CRD_PSK)
		return reason_set(why, -EPROTO, "TLS: the other end has not proved the key");
	return 0;
}

ssize_t tls_send(struct tls *tls, const void *data, size_t len)
{
	const ssize_t done = gnutls.record_send(tls->session, data, len);

	return done < 0 ? told(done) : done;
}

ssize_t tls_receive(struct tls *tls, void *buffer, size_t len)
{
	const ssize_t got = gnutls.record_recv(tls->session, buffer, len);

	return got < 0 ? told(got) : got;
}
