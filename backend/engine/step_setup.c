// SPDX-License-Identifier: Apache-2.0
/*
 * The steps that put a system on a node's disk and set a guest up, and what
 * comes of them.  step.c calls both; what is next is plan.c's.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

static void refused(struct node *n, int r, const struct err *err)
{
	if (r < 0)
		step_ended(n, n->doing, r, err);
}

/* The driver's handle for the kind of system; another kind, another one. */
static int open_install(struct node *n, struct err *err)
{
	const struct install_driver *d = node_install_driver(n);

	if (!d)
		return err_set(err, -EINVAL,
		    "install: image %s is of no kind that can be installed",
		    n->spec->install.image);
	if (d->available && d->available(err) < 0)
		return err->code;
	if (n->install && n->install_driver != d)
		n->install_driver->close(TAKE_PTR(n->install));
	n->install_driver = d;
	return n->install ? 0 : d->open(n->env, &n->install, err);
}

static void run_install(struct node *n, bool seal)
{
	struct install_texts texts = {0};
	struct install_slice slice;
	struct err err = ERR_INIT;
	int r = open_install(n, &err);

	if (r == 0)
		r = slice_install(n, &slice, &texts, &err);
	if (r == 0)
		r = seal ? install_seal(n->install_driver, n->install, &slice,
			       &n->op, &err)
			 : install_ensure(n->install_driver, n->install, &slice,
			       &n->op, &err);
	install_texts_done(&texts);
	refused(n, r, &err);
}

void begin_install(struct node *n)
{
	run_install(n, false);
}

void begin_seal(struct node *n)
{
	run_install(n, true);
}

/* On record from now on: what the next start boots. */
static void keep_installed(struct node *n, const char *digest)
{
	if (n->meta.installed && STREQ(n->meta.installed, digest))
		return;
	n->meta.installed_kind =
	    node_system(n) ? node_system(n)->spec->kind : IMAGE_ROOTFS;
	free(n->meta.installed);
	n->meta.installed = xstrdup(digest);
	n->meta.disk_used = true;
	if (n->meta.installed_kind != IMAGE_DISK)
		node_keep_kernel(n);
	node_meta_put(n, NULL, NULL);
	node_keep_layout(n);
	event(&n->o, "disk", NULL, "installed", NULL, "image %s",
	    n->spec->install.image);
}

void installed(struct node *n)
{
	struct install_look look = {0};

	n->install_driver->look(n->install, &look);
	if (look.installed[0])
		keep_installed(n, look.installed);
	else
		n->copied = look.copied[0] ? YES : NO;
	if (!look.installed[0] && !look.copied[0])
		node_fail(n, STAGE_INSTALL,
		    "after it was copied the system is not on the disk");
}

void sealed(struct node *n)
{
	struct install_look look = {0};

	n->install_driver->look(n->install, &look);
	if (look.installed[0])
		keep_installed(n, look.installed);
	else
		node_fail(n, STAGE_INSTALL,
		    "the mark that the system is whole was not there after it "
		    "was written");
}

/* --- setup --- */

static void run_setup(struct node *n, bool look)
{
	struct setup_list list;
	struct err err = ERR_INIT;
	int r;

	n->doing_due = n->due; /* the slice is of now */
	if (!n->setup)
		r = n->driver->setup->open(n->env, &n->setup, &err);
	else
		r = 0;
	if (r == 0)
		r = setup_make(n, n->doing_offline, &list, &err);
	if (r < 0) {
		refused(n, r, &err);
		return;
	}
	n->hosts_sent = n->o.c->names_version;
	r = look ? setup_observe(
		       n->driver->setup, n->setup, &list.slice, &n->op, &err)
		 : setup_ensure(n->driver->setup, n->setup, n->doing_part,
		       &list.slice, &n->op, &err);
	setup_done(&list);
	refused(n, r, &err);
}

static void certificate_ready(int code, const struct err *err, void *userdata)
{
	struct node *n = userdata;

	n->preparing = false;
	node_open(n);
	if (!n->machine || n->cancelling || !n->o.c->worker || n->o.gone)
		step_ended(n, n->doing, -ECANCELED, NULL);
	else if (code < 0)
		step_ended(n, n->doing, code, err);
	else
		run_setup(n, n->doing == STEP_SETUP_LOOK);
	object_unref(&n->o);
}

void begin_setup(struct node *n, bool look)
{
	n->doing_part = n->plan.part;
	n->doing_offline = n->plan.offline;
	if (!n->spec->tls.present) {
		run_setup(n, look);
		return;
	}
	object_ref(&n->o);
	n->preparing = true;
	tls_prepare(n, certificate_ready, n);
}

static bool known_drift(const struct node *n, const struct setup_item *item)
{
	for (size_t i = 0; i < n->n_drift; i++)
		if (STREQ(n->drift[i].key, item->key) &&
		    STREQ(n->drift[i].detail, item->detail))
			return true;
	return false;
}

/* Keeps what was seen to differ; what a look finds anew is an event. */
static void keep_drift(struct node *n, const struct setup_look *l, bool look)
{
	bool had = n->n_drift > 0;

	for (size_t i = 0; look && i < l->n_items; i++)
		if (!known_drift(n, &l->items[i]))
			event(&n->o, "drift", NULL, NULL, NULL, "%s: %s",
			    l->items[i].key, l->items[i].detail);
	node_drift_drop(n);
	n->drift_seen = now_real();
	if (l->n_items) {
		n->drift = xcalloc(l->n_items, sizeof(*n->drift));
		memcpy(n->drift, l->items, l->n_items * sizeof(*n->drift));
		n->n_drift = l->n_items;
	}
	touch(&n->o, ASPECT_OBSERVED);
	if (had || n->n_drift)
		touch(&n->o.c->o, ASPECT_DRIFT | ASPECT_PLAN);
}

/* One that was set up for this very spec: what differs now has drifted, and is
 * only told when that is what the cluster's spec asks for. */
void adopted(struct node *n)
{
	if (n->machine_look.state != MACHINE_RUNNING ||
	    n->machine_look.launch != n->up_launch ||
	    n->set_up_digest != (n->spec_digest & INT64_MAX))
		return;
	node_had_hosts(n);
	if (n->o.c->spec->on_drift == DRIFT_REPAIR)
		return;
	for (int i = 0; i < SETUP_PARTS; i++) {
		n->parts[i] = YES;
		n->setup_look |= node_has_setup(n, i, false);
	}
}

void set_up(struct node *n, bool look)
{
	struct setup_look l = {0};

	n->driver->setup->look(n->setup, &l);
	/* What changed meanwhile was not seen, or not all of it. */
	if (!l.known || n->doing_due != n->due)
		return;
	if (n->doing_offline && !look) {
		n->offline[n->doing_part] = YES;
		return;
	}
	if (look) {
		n->setup_look = false;
		keep_drift(n, &l, true);
		for (int i = 0; i < SETUP_PARTS; i++)
			n->parts[i] = l.differs[i] ? NO : YES;
		/* That is no drift: it is sent, and services are told. */
		if (n->renewed)
			node_setup_due(n);
		return;
	}
	n->parts[n->doing_part] = YES;
	if (n->doing_part == SETUP_FILES) {
		n->renewed = false;
		node_has_hosts(n);
	}
	if (n->doing_part == SETUP_SERVICES)
		checks_set_up(n);
	keep_drift(n, &l, false);
}
