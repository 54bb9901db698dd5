// SPDX-License-Identifier: Apache-2.0
/*
 * `status.json`: for a node everything that is observed, with every default of
 * its spec filled in; for the cluster the same as `status` for programs.
 * Names, sizes and digests, never a secret.
 */
#include "fs/files.h"
#include "fs/json_out.h"
#include "fs/text.h"

/* What a guest or a program said: control bytes are shown. */
static void said(struct json_out *j, const char *key, const char *s)
{
	_cleanup_buf_ struct buf text = {0};

	text_line(&text, s);
	jout_string(j, key, buf_str(&text));
}

static void said_or_null(struct json_out *j, const char *key, const char *s)
{
	if (s)
		said(j, key, s);
	else
		jout_string(j, key, NULL);
}

/* --- a node --- */

static void nics(struct json_out *j, const struct node_view *v)
{
	char mac[18], ip[16];

	jout_open_list(j, "nics");
	for (size_t i = 0; i < v->n_nics; i++) {
		const struct nic_view *n = &v->nics[i];

		format_mac(n->mac, mac);
		format_ip(n->address, ip);
		jout_open(j, NULL);
		jout_string(j, "name", n->spec->name);
		jout_string(j, "network", n->network);
		jout_string(j, "mac", mac);
		jout_string(j, "address", n->has_address ? ip : NULL);
		if (n->has_address)
			jout_number(j, "prefix", n->prefix);
		jout_string(j, "link", link_state_name(n->spec->link));
		jout_bool(j, "plugged", n->plugged);
		jout_close(j);
	}
	jout_close_list(j);
}

static const char *machine_word(enum machine_state s)
{
	switch (s) {
	case MACHINE_NONE:
		return "none";
	case MACHINE_RUNNING:
		return "running";
	case MACHINE_UNKNOWN:
		break;
	}
	return "unknown";
}

static const char *end_word(enum machine_end e)
{
	switch (e) {
	case END_POWEROFF:
		return "poweroff";
	case END_REBOOT:
		return "reboot";
	case END_PANIC:
		return "panic";
	case END_STOPPED:
		return "stopped";
	case END_CRASHED:
		return "crashed";
	case END_NONE:
	case MACHINE_ENDS:
		break;
	}
	return NULL;
}

static void machine(struct json_out *j, const struct machine_look *m)
{
	bool runs = m->state == MACHINE_RUNNING;

	jout_open(j, "machine");
	jout_string(j, "state", machine_word(m->state));
	jout_number(j, "launch", m->launch);
	if (runs) {
		jout_number(j, "pid", (uint64_t)m->pid);
		jout_mono(j, "started", m->started);
		jout_bool(j, "booted", m->marked);
		jout_mono(j, "last_output", m->last_output);
		jout_number(j, "disk_size", m->disk_size);
	} else {
		jout_string(j, "end", end_word(m->end));
		said(j, "end_text", m->end_text);
	}
	jout_string(j, "accel", m->accel && *m->accel ? m->accel : NULL);
	said(j, "accel_why", m->accel_why);
	said(j, "last_line", m->last_line);
	jout_close(j);
}

static void guest(struct json_out *j, const struct guest_look *g)
{
	jout_open(j, "guest");
	jout_bool(j, "connected", g->connected);
	jout_bool(j, "right", g->right);
	said(j, "wrong", g->wrong);
	said(j, "boot_id", g->boot_id);
	jout_close(j);
}

static void disk(struct json_out *j, const struct node_view *v)
{
	jout_open(j, "disk");
	jout_string(j, "content", disk_content_name(v->disk.content));
	jout_string(j, "uuid", v->disk_uuid);
	jout_number(j, "size", v->disk.size);
	jout_bool(j, "laid_out", v->disk_laid_out);
	jout_bool(j, "used", v->disk_used);
	jout_bool(j, "mounted", v->disk.mounted);
	said(j, "found", v->disk.found);
	jout_close(j);
}

/* The system on the disk. */
static void installed(struct json_out *j, const struct node_view *v)
{
	if (!v->installed) {
		jout_string(j, "installed", NULL);
		return;
	}
	jout_open(j, "installed");
	jout_string(j, "kind",
	    v->installed_kind != IMAGE_NONE ? image_kind_name(v->installed_kind)
					    : NULL);
	jout_string(j, "digest", v->installed);
	jout_close(j);
}

static void volumes(struct json_out *j, const struct node_view *v)
{
	jout_open_list(j, "volumes");
	for (size_t i = 0; i < v->n_volumes; i++) {
		const struct volume_view *x = &v->volumes[i];

		jout_open(j, NULL);
		jout_string(j, "name", x->spec->name);
		jout_number(j, "size", x->spec->size);
		jout_string(
		    j, "filesystem", filesystem_name(x->spec->filesystem));
		jout_string(j, "mount", x->spec->mount);
		jout_bool(j, "made", x->number != 0);
		jout_string(j, "uuid", x->uuid[0] ? x->uuid : NULL);
		jout_close(j);
	}
	jout_close_list(j);
}

/* What was seen to differ when files and services were last looked at. */
static void drift(struct json_out *j, struct object *o)
{
	struct drift_view d;
	uint64_t seen;
	bool any = node_drift(o, 0, &d, &seen);

	jout_open(j, "drift");
	jout_time(j, "looked", seen);
	jout_open_list(j, "differs");
	for (size_t i = 0; any && node_drift(o, i, &d, &seen); i++) {
		jout_open(j, NULL);
		jout_string(j, "key", d.key);
		said(j, "detail", d.detail);
		jout_close(j);
	}
	jout_close_list(j);
	jout_close(j);
}

static void check(const struct check_view *v, void *json)
{
	struct json_out *j = json;

	jout_open(j, NULL);
	jout_string(j, "name", v->name);
	jout_string(j, "node", v->node);
	jout_string(j, "state", check_state_name(v->state));
	jout_time(j, "since", v->since);
	said(j, "detail", v->detail);
	jout_close(j);
}

static void tls(struct json_out *j, uint64_t end)
{
	if (!end) {
		jout_string(j, "tls", NULL);
		return;
	}
	jout_open(j, "tls");
	jout_time(j, "not_after", end);
	jout_close(j);
}

static void stages(struct json_out *j, const struct node_view *v)
{
	jout_open_list(j, "stages");
	for (size_t i = 0; i < v->n_stages; i++) {
		const struct stage_view *s = &v->stages[i];

		jout_open(j, NULL);
		jout_string(j, "name", stage_name(s->stage));
		jout_string(j, "state", stage_state_name(s->state));
		jout_time(j, "started", s->started_real);
		if (s->ended && s->started)
			jout_real(j, "seconds",
			    (double)(s->ended - MIN(s->ended, s->started)) /
				USEC_PER_SEC);
		jout_number(j, "attempts", s->attempts);
		if (s->percent >= 0)
			jout_number(j, "percent", (uint64_t)s->percent);
		said(j, "detail", s->detail ? s->detail : "");
		jout_close(j);
	}
	jout_close_list(j);
}

/* The document with every default.  `qemu.args` may hold secrets: that there
 * are some is told, not what they say. */
static void effective(struct json_out *j, struct object *o, const char *hidden)
{
	const char *text = object_effective(o);
	_cleanup_buf_ struct buf merged = {0};

	if (!hidden)
		jout_raw(j, "spec", text);
	else if (spec_merge(text, hidden, &merged, NULL) == 0)
		jout_raw(j, "spec", buf_str(&merged));
	else
		jout_raw(j, "spec", "{}");
}

static const char *hidden_of_node(const struct node_view *v)
{
	return v->spec->qemu_args && v->spec->qemu_args[0]
		   ? "{\"qemu\":{\"args\":\"(not shown)\"}}"
		   : NULL;
}

static const char *hidden_of_cluster(struct object *o)
{
	return strstr(object_effective(o), "\"qemu\"")
		   ? "{\"defaults\":{\"qemu\":{\"args\":\"(not shown)\"}}}"
		   : NULL;
}

static void why(struct json_out *j, const struct node_view *v)
{
	jout_mono(j, "since", v->since);
	said(j, "reason", v->reason ? v->reason : "");
	said(j, "waiting_for", v->waiting_for ? v->waiting_for : "");
	jout_mono(j, "deadline", v->deadline);
	jout_number(j, "restarts", v->restarts);
	if (v->failed_stage) {
		jout_open(j, "failed");
		jout_string(j, "stage", v->failed_stage);
		said_or_null(j, "sentence", v->failed_sentence);
		jout_close(j);
	} else {
		jout_string(j, "failed", NULL);
	}
	said_or_null(j, "refused", v->refused);
	jout_strings(j, "restart_required", v->restart_required);
	jout_strings(j, "wipe_required", v->wipe_required);
}

void render_node_status_json(const struct render *r, struct buf *ret)
{
	struct json_out j;
	struct node_view v;

	node_view(r->object, &v);
	jout_begin(&j, r->clock, ret);
	jout_string(&j, "name", v.name);
	jout_number(&j, "number", v.number);
	jout_string(&j, "state", node_state_name(v.state));
	jout_string(&j, "power", power_name(v.wanted));
	jout_bool(&j, "settled", v.settled);
	jout_bool(&j, "virtual", v.virtual);
	why(&j, &v);
	jout_open(&j, "ssh");
	jout_string(&j, "host", "127.0.0.1");
	jout_number(&j, "port", v.ssh_port);
	jout_string(&j, "user", v.ssh_user);
	jout_string(&j, "host_key", v.host_key);
	jout_close(&j);
	nics(&j, &v);
	machine(&j, &v.machine);
	guest(&j, &v.guest);
	if (v.spec->disk.present)
		disk(&j, &v);
	else
		jout_string(&j, "disk", NULL);
	installed(&j, &v);
	jout_bool(&j, "from_disk", v.from_disk);
	volumes(&j, &v);
	stages(&j, &v);
	drift(&j, r->object);
	jout_open_list(&j, "checks");
	node_checks(r->object, check, &j);
	jout_close_list(&j);
	jout_strings(&j, "after", v.spec->after);
	tls(&j, v.certificate_end);
	if (v.template_reason)
		said(&j, "template_reason", v.template_reason);
	effective(&j, r->object, hidden_of_node(&v));
	jout_end(&j);
}

/* --- the cluster --- */

static void node_in_short(struct json_out *j, struct object *o)
{
	const struct nic_view *nic;
	struct node_view v;
	char ip[16];

	node_view(o, &v);
	nic = node_first_address(&v);
	if (nic)
		format_ip(nic->address, ip);
	jout_open(j, NULL);
	jout_string(j, "name", v.name);
	jout_number(j, "number", v.number);
	jout_string(j, "state", node_state_name(v.state));
	jout_string(j, "power", power_name(v.wanted));
	jout_bool(j, "settled", v.settled);
	jout_string(j, "address", nic ? ip : NULL);
	jout_number(j, "ssh_port", v.ssh_port);
	jout_mono(j, "since", v.since);
	said(j, "reason", v.reason ? v.reason : "");
	said(j, "waiting_for", v.waiting_for ? v.waiting_for : "");
	jout_string(j, "failed", v.failed_stage);
	if (v.failed_sentence)
		said(j, "error", v.failed_sentence);
	jout_close(j);
}

static void network_in_short(struct json_out *j, struct object *o)
{
	struct network_view v;
	char ip[16];

	network_view(o, &v);
	format_ip(v.subnet, ip);
	jout_open(j, NULL);
	jout_string(j, "name", v.name);
	jout_number(j, "number", v.number);
	jout_string(j, "state", network_state_name(v.state));
	jout_string(j, "subnet", ip);
	jout_number(j, "prefix", v.prefix);
	jout_number(j, "nodes", v.users);
	if (v.failed_sentence)
		said(j, "error", v.failed_sentence);
	effective(j, o, NULL);
	jout_close(j);
}

static void image_in_short(struct json_out *j, struct object *o)
{
	struct image_view v;

	image_view(o, &v);
	jout_open(j, NULL);
	jout_string(j, "name", v.name);
	jout_number(j, "number", v.number);
	jout_string(j, "state", image_state_name(v.state));
	jout_string(j, "version", v.look.version[0] ? v.look.version : NULL);
	if (v.percent >= 0)
		jout_number(j, "percent", (uint64_t)v.percent);
	if (v.detail && *v.detail)
		said(j, "detail", v.detail);
	if (v.failed_sentence)
		said(j, "error", v.failed_sentence);
	effective(j, o, NULL);
	jout_close(j);
}

static void each(struct json_out *j, const char *key, struct cluster *c,
    enum object_kind kind, void (*one)(struct json_out *j, struct object *o))
{
	struct object *o = NULL;

	jout_open_list(j, key);
	while ((o = cluster_next(c, kind, o ? object_number(o) : 0)))
		one(j, o);
	jout_close_list(j);
}

void render_cluster_status_json(const struct render *r, struct buf *ret)
{
	struct cluster_view v;
	struct json_out j;

	cluster_view(r->cluster, &v);
	jout_begin(&j, r->clock, ret);
	jout_string(&j, "name", v.spec->name);
	jout_string(&j, "state", cluster_state_name(v.state));
	jout_bool(&j, "settled", v.settled);
	said_or_null(&j, "failed", v.failed_sentence);
	said_or_null(&j, "refused", v.refused);
	jout_open(&j, "counts");
	for (int s = 0; s < NODE_STATES; s++)
		jout_number(
		    &j, node_state_name((enum node_state)s), v.counts[s]);
	jout_close(&j);
	jout_open_list(&j, "checks");
	cluster_checks(r->cluster, check, &j);
	jout_close_list(&j);
	tls(&j, v.certificate_end);
	each(&j, "nodes", r->cluster, OBJECT_NODE, node_in_short);
	each(&j, "networks", r->cluster, OBJECT_NETWORK, network_in_short);
	each(&j, "images", r->cluster, OBJECT_IMAGE, image_in_short);
	effective(&j, r->object, hidden_of_cluster(r->object));
	jout_end(&j);
}
