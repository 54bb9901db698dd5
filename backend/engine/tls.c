// SPDX-License-Identifier: Apache-2.0
/*
 * The cluster's certificate authority and the certificates of its nodes:
 * made on first use, renewed when they near their end or names change, handed
 * to the guests as files like any other.  The authority's key stays in the
 * state directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include "engine/engine.h"
#include "host/pki.h"
#include "log.h"

#define LOOK_EVERY (3600 * USEC_PER_SEC) /* for certificates near their end */
#define PEM_MAX    (64 * KIB)
#define LOCALHOST  0x7f000001u
#define IPS_MAX    (NICS_MAX + 1 + TLS_NAMES_MAX)
#define CA_FILES   3 /* of the node: ca.crt, cert.pem, key.pem */

struct tls_job {
	struct cluster *c;
	struct node *n; /* NULL: only the authority and the operator's */
	char *dir;      /* of the cluster: ca.crt, ca.key, client.crt, .key */
	char *crt, *key;
	char *name, *organization, *common_name;
	char **dns;
	uint32_t ips[IPS_MAX];
	size_t n_ips;
	unsigned days;
	bool made, client_made; /* out: something is new */
	uint64_t end;           /* out: when the node's runs out */
	store_done_fn done;
	void *userdata;
};

/* When a certificate runs out, CLOCK_REALTIME usec; 0: not known. */
static uint64_t end_of(const char *pem)
{
	int64_t end;

	if (pki_not_after(pem, &end, NULL) < 0 || end < 0)
		return 0;
	return (uint64_t)end * USEC_PER_SEC;
}

static int run(void *userdata, struct err *err)
{
	struct tls_job *j = userdata;
	_cleanup_free_ char *crt = xasprintf("%s/ca.crt", j->dir);
	_cleanup_free_ char *key = xasprintf("%s/ca.key", j->dir);
	_cleanup_free_ char *client = xasprintf("%s/client.crt", j->dir);
	_cleanup_free_ char *client_key = xasprintf("%s/client.key", j->dir);
	_cleanup_free_ char *title = xasprintf("%.50s CA", j->name);
	int64_t now = (int64_t)(now_real() / USEC_PER_SEC);
	const struct pki_subject operator= {
	    .common_name = "operator",
	    .organization = j->organization,
	    .days = j->days,
	};
	const struct pki_subject node = {
	    .common_name = j->common_name,
	    .organization = j->organization,
	    .dns = j->dns,
	    .ips = j->ips,
	    .n_ips = j->n_ips,
	    .days = j->days,
	    .server = true,
	};
	int r = mkdir_p(j->dir, 0700);

	if (r < 0)
		return err_errno(err, r, "can't make %s", j->dir);
	r = pki_ca_ensure(crt, key, title, j->organization, err);
	if (r >= 0)
		r = pki_issue_ensure(
		    crt, key, client, client_key, &operator, now, err);
	j->client_made = r > 0;
	if (r >= 0 && j->n)
		r = pki_issue_ensure(crt, key, j->crt, j->key, &node, now, err);
	j->made = r > 0;
	if (r >= 0 && j->n) {
		_cleanup_buf_ struct buf pem = {0};

		if (file_read(AT_FDCWD, j->crt, PEM_MAX, &pem) == 0)
			j->end = end_of(buf_str(&pem));
	}
	return MIN(r, 0);
}

static void job_free(struct tls_job *j)
{
	if (j->n)
		object_unref(&j->n->o);
	free(j->dir);
	free(j->crt);
	free(j->key);
	free(j->name);
	free(j->organization);
	free(j->common_name);
	strv_free(j->dns);
	free(j);
}

/* The operator's files, as the tree shows them. */
static void load_client(struct cluster *c, const char *dir)
{
	static const char *const names[TLS_TEXTS] = {
	    [TLS_CA] = "ca.crt",
	    [TLS_CERT] = "client.crt",
	    [TLS_KEY] = "client.key",
	};

	for (int i = 0; i < TLS_TEXTS; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, names[i]);

		buf_clear(&c->tls[i]);
		(void)file_read(AT_FDCWD, path, PEM_MAX, &c->tls[i]);
	}
	c->certificate_end = end_of(buf_str(&c->tls[TLS_CERT]));
	touch(&c->o, ASPECT_TLS);
}

static void ended(int code, const struct err *err, void *userdata)
{
	struct tls_job *j = userdata;
	struct cluster *c = j->c;
	store_done_fn done = j->done;
	void *data = j->userdata;

	if (code < 0)
		log_error("tls: %s", err_text(err));
	else if (j->client_made || !c->tls[TLS_CA].len)
		load_client(c, j->dir);
	if (code == 0 && j->n && j->n->certificate_end != j->end) {
		j->n->certificate_end = j->end;
		touch(&j->n->o, ASPECT_OBSERVED);
	}
	if (code == 0 && j->made && j->n && !j->n->o.gone) {
		j->n->renewed = true;
		event(&j->n->o, "certificate", NULL, NULL, NULL,
		    "made for %u days", j->days);
	}
	job_free(j);
	if (done)
		done(code, err, data);
}

static struct tls_job *job_new(struct cluster *c)
{
	struct tls_job *j = xcalloc(1, sizeof(*j));

	j->c = c;
	j->dir = xasprintf("%s/tls", c->state_dir);
	j->name = xstrdup(c->spec->name);
	j->organization = xstrdup(c->spec->tls_organization);
	j->days = c->spec->tls_days;
	return j;
}

static char *node_file(const struct node *n, const char *name)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->state_dir);

	return xasprintf("%s/%s", dir, name);
}

void tls_prepare(struct node *n, store_done_fn done, void *userdata)
{
	struct cluster *c = n->o.c;
	struct tls_job *j = job_new(c);

	j->n = n;
	object_ref(&n->o);
	j->crt = node_file(n, "tls.crt");
	j->key = node_file(n, "tls.key");
	j->common_name = xstrdup(n->o.name);
	strv_push(&j->dns, n->o.name);
	strv_pushf(&j->dns, "%s.%s", n->o.name, c->spec->domain);
	strv_push(&j->dns, "localhost");
	for (char **p = n->spec->tls.names; p && *p; p++) {
		if (parse_ip(*p, &j->ips[j->n_ips]) == 0)
			j->n_ips++;
		else
			strv_push(&j->dns, *p);
	}
	for (size_t i = 0; i < n->n_nics; i++)
		if (n->nics[i].has_address)
			j->ips[j->n_ips++] = n->nics[i].address;
	j->ips[j->n_ips++] = LOCALHOST;
	j->done = done;
	j->userdata = userdata;
	store_run(c, run, ended, j);
}

int tls_add_files(struct node *n, struct setup_list *l, struct err *err)
{
	const struct tls_spec *t = &n->spec->tls;
	_cleanup_free_ char *ca = xasprintf("%s/tls/ca.crt", n->o.c->state_dir);
	_cleanup_free_ char *crt = node_file(n, "tls.crt");
	_cleanup_free_ char *key = node_file(n, "tls.key");
	const struct {
		const char *from, *to, *name;
		unsigned mode;
	} files[CA_FILES] = {
	    {ca, "ca.crt", "tls.ca", 0644},
	    {crt, "cert.pem", "tls.certificate", 0644},
	    {key, "key.pem", "tls.key", 0600},
	};

	if (!t->present)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *to =
		    xasprintf("%s/%s", t->dir, files[i].to);
		_cleanup_buf_ struct buf pem = {0};
		int r = file_read(AT_FDCWD, files[i].from, PEM_MAX, &pem);

		if (r < 0)
			return err_errno(
			    err, r, "tls: can't read %s", files[i].from);
		setup_add(l, files[i].name, to, pem.data, pem.len,
		    files[i].mode, t->owner);
	}
	return 0;
}

/* --- first use, renewal --- */

void tls_want(struct cluster *c)
{
	if (c->tls_wanted || c->loading)
		return;
	c->tls_wanted = true;
	store_run(c, run, ended, job_new(c));
	loop_timer_set(c->tls_timer, loop_now(c->loop) + LOOK_EVERY);
}

/* A look sees to the certificate first, and to what differs then. */
static void look_all(void *userdata)
{
	struct cluster *c = userdata;

	EACH_OBJECT (o, c, OBJECT_NODE) {
		struct node *n = as_node(o);

		if (!n->spec->tls.present || n->plan.state != STATE_UP ||
		    !n->plan.settled)
			continue;
		n->periodic = true;
		n->setup_look = true;
		mark_dirty(o);
	}
	store_run(c, run, ended, job_new(c));
	loop_timer_set(c->tls_timer, loop_now(c->loop) + LOOK_EVERY);
}

void tls_start(struct cluster *c)
{
	loop_add_timer(c->loop, USEC_NEVER, look_all, c, &c->tls_timer);
	EACH_OBJECT (o, c, OBJECT_NODE) {
		if (as_node(o)->spec && as_node(o)->spec->tls.present) {
			tls_want(c);
			return;
		}
	}
}

void tls_stop(struct cluster *c)
{
	loop_source_free(TAKE_PTR(c->tls_timer));
	for (int i = 0; i < TLS_TEXTS; i++)
		buf_done(&c->tls[i]);
}
