// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes of a machine that runs: one that the spec got since its start is
 * plugged in, one that became larger grows; one that left the spec stays until
 * the next start.  The run's document (node->started) follows what was seen
 * to be plugged in, so that a restart of the daemon loses nothing.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

static const struct volume_spec *find(
    const struct node_spec *s, const char *name)
{
	for (size_t i = 0; i < s->n_volumes; i++)
		if (STREQ(s->volumes[i].name, name))
			return &s->volumes[i];
	return NULL;
}

const struct volume_spec *volume_running(const struct node *n, const char *name)
{
	const struct volume_spec *then = find(node_running_spec(n), name);
	const struct volume_spec *now = find(n->spec, name);

	if (!then || !now || now->filesystem != then->filesystem)
		return then;
	return now;
}

/* What the guest sees of it; 0: nothing. */
static uint64_t plugged(const struct node *n, const char *name)
{
	const struct machine_look *l = &n->machine_look;
	const struct volume_record *r = volume_record(n, name);
	_cleanup_free_ char *serial = r ? volume_serial(r) : NULL;

	for (size_t i = 0; serial && i < l->n_disks; i++)
		if (STREQ(l->disks[i].name, serial))
			return l->disks[i].size;
	return 0;
}

static bool runs(const struct node *n)
{
	return n->machine_look.state == MACHINE_RUNNING && n->started &&
	       n->machine_look.disks_known;
}

bool volume_pluggable(const struct node *n, const struct volume_spec *v)
{
	return runs(n) && n->no_plug != n->machine_look.launch &&
	       !find(n->started, v->name) &&
	       n->started->n_volumes < VOLUMES_MAX;
}

bool volumes_fit(const struct node *n)
{
	for (size_t i = 0; runs(n) && i < n->spec->n_volumes; i++) {
		const struct volume_spec *v = &n->spec->volumes[i];

		if (volume_pluggable(n, v))
			return false;
		if (volume_running(n, v->name) == v &&
		    plugged(n, v->name) < v->size)
			return false;
	}
	return true;
}

/* Adds to *ret those that `which` wants, as a patch of a document. */
static bool patch_of(const struct node *n, const char *now,
    bool (*which)(const struct node *n, const struct volume_spec *v),
    struct buf *ret)
{
	_cleanup_buf_ struct buf all = {0};
	bool any = false;

	if (spec_section_get(now, "volumes", &all, NULL) < 0)
		return false;
	buf_puts(ret, "{\"volumes\":{");
	for (size_t i = 0; i < n->spec->n_volumes; i++) {
		const struct volume_spec *v = &n->spec->volumes[i];
		_cleanup_buf_ struct buf one = {0};

		if (!which(n, v) ||
		    spec_section_get(buf_str(&all), v->name, &one, NULL) < 0)
			continue;
		buf_printf(
		    ret, "%s\"%s\":%s", any ? "," : "", v->name, buf_str(&one));
		any = true;
	}
	buf_puts(ret, "}}");
	return any;
}

void volumes_then(struct node *n, const char *now, struct buf *ret)
{
	_cleanup_buf_ struct buf patch = {0};

	if (!patch_of(n, now, volume_pluggable, &patch) ||
	    spec_merge(n->started_spec, buf_str(&patch), ret, NULL) < 0)
		buf_puts(ret, n->started_spec);
}

static bool came(const struct node *n, const struct volume_spec *v)
{
	return !find(n->started, v->name) && plugged(n, v->name) > 0;
}

void volumes_refused(struct node *n, const char *why)
{
	n->no_plug = n->machine_look.launch;
	object_logf(&n->o, "%s", why);
	node_compare_specs(n);
}

static bool any_pluggable(const struct node *n)
{
	for (size_t i = 0; i < n->spec->n_volumes; i++)
		if (volume_pluggable(n, &n->spec->volumes[i]))
			return true;
	return false;
}

static void take_plugged(struct node *n)
{
	_cleanup_buf_ struct buf now = {0}, patch = {0}, then = {0};
	bool any = false;

	for (size_t i = 0; runs(n) && !any && i < n->spec->n_volumes; i++)
		any = came(n, &n->spec->volumes[i]);
	if (!any ||
	    spec_effective(
		SPEC_NODE, n->o.c->defaults, n->o.spec_text, &now, NULL) < 0 ||
	    !patch_of(n, buf_str(&now), came, &patch) ||
	    spec_merge(n->started_spec, buf_str(&patch), &then, NULL) < 0)
		return;
	free(n->started_spec);
	n->started_spec = buf_take(&then);
	node_spec_free(TAKE_PTR(n->started));
	(void)node_spec_parse(NULL, n->started_spec, &n->started, NULL);
	if (n->disk_look)
		n->disk_look->content = DISK_UNKNOWN;
	node_compare_specs(n);
	history_save(n);
	object_logf(&n->o, "volumes: plugged in while it runs");
}

void volumes_plugged(struct node *n, bool all)
{
	take_plugged(n);
	/* Those of the run and of the spec together may be too many. */
	if (all && any_pluggable(n))
		volumes_refused(n, "volumes: the next start takes the rest");
}
