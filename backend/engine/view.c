// SPDX-License-Identifier: Apache-2.0
/*
 * What the face reads: views with borrowed pointers, put together when asked.
 */
#include <stdio.h>
#include "engine/engine.h"

enum node_state node_state(const struct object *o)
{
	return as_node(o)->plan.state;
}

/* The document with every default, kept until the next view of any object. */
static const char *effective(struct object *o, enum spec_kind kind)
{
	struct cluster *c = o->c;

	buf_clear(&c->effective);
	if (spec_shown_at(c->cwd, kind, kind == SPEC_NODE ? c->defaults : NULL,
		o->spec_text, &c->effective, NULL) < 0)
		buf_puts(&c->effective, "{}");
	return buf_str(&c->effective);
}

static void view_stages(const struct node *n, struct node_view *v)
{
	unsigned wanted = node_stages(n);

	for (unsigned s = 0; s < STAGES; s++) {
		struct stage_view *x = &v->stages[v->n_stages];

		if (!(wanted & 1u << s))
			continue;
		v->n_stages++;
		*x = (struct stage_view){
		    .stage = s, .percent = -1, .detail = ""};
		if (!n->stages)
			continue;
		x->state = n->stages[s].state;
		x->started = n->stages[s].started;
		x->started_real = n->stages[s].started_real;
		x->ended = n->stages[s].ended;
		x->attempts = n->stages[s].attempts;
		x->percent = n->stages[s].percent;
		if (n->stages[s].detail)
			x->detail = n->stages[s].detail;
	}
}

static void view_nics(const struct node *n, struct node_view *v)
{
	const struct machine_look *l = &n->machine_look;
	const struct node_spec *run = node_running_spec(n);

	v->n_nics = n->n_nics;
	for (size_t i = 0; i < n->n_nics; i++) {
		const struct nic *nic = &n->nics[i];
		size_t at = 0; /* among those of the run */

		while (at < run->n_nics &&
		       !STREQ(run->nics[at].name, nic->spec->name))
			at++;
		v->nics[i] = (struct nic_view){
		    .spec = nic->spec,
		    .has_address = nic->has_address,
		    .address = nic->address,
		    .prefix = nic->network->prefix,
		    .network = nic->network->o.name,
		    .plugged =
			l->state == MACHINE_RUNNING &&
			at < MIN(run->n_nics, l->n_nics) &&
			l->nics[at].incarnation == network_plug(nic->network),
		};
		memcpy(v->nics[i].mac, nic->mac, sizeof(nic->mac));
	}
}

static void view_volumes(const struct node *n, struct node_view *v)
{
	v->n_volumes = n->spec->n_volumes;
	for (size_t i = 0; i < v->n_volumes; i++) {
		const struct volume_record *r =
		    volume_record(n, n->spec->volumes[i].name);

		v->volumes[i] = (struct volume_view){
		    .spec = &n->spec->volumes[i],
		    .number = r ? r->number : 0,
		    .uuid = r ? r->uuid : "",
		};
	}
}

/* Why it does what it does, what it waits for, until when. */
static void view_reason(const struct node *n, struct node_view *v)
{
	v->reason = n->plan.why;
	v->waiting_for = n->plan.waiting_for;
	v->deadline = n->plan.wake_at;
	if (n->doing != STEP_NONE && n->op_deadline < v->deadline) {
		v->deadline = n->op_deadline;
		if (!v->waiting_for[0])
			v->waiting_for = n->plan.why;
	}
	if (n->doubt.step != STEP_NONE)
		v->waiting_for = "whether the guest is going down";
	if (n->hold_until > loop_now(n->o.c->loop))
		v->waiting_for = "another try after a passing fault";
}

const struct nic_view *node_first_address(const struct node_view *v)
{
	for (size_t i = 0; i < v->n_nics; i++) {
		if (v->nics[i].has_address)
			return &v->nics[i];
	}
	return NULL;
}

void node_view(struct object *o, struct node_view *ret)
{
	struct node *n = as_node(o);

	*ret = (struct node_view){
	    .name = o->name,
	    .number = o->number,
	    .state = n->plan.state,
	    .wanted = n->meta.power,
	    .spec = n->spec,
	    .ssh_port = n->ssh_port,
	    .machine = n->machine_look,
	    .disk_laid_out = n->meta.laid_out,
	    .disk_used = n->meta.disk_used,
	    .disk_uuid = n->meta.disk ? n->meta.disk->uuid : NULL,
	    .installed = n->meta.installed,
	    .installed_kind = n->meta.installed_kind,
	    .from_disk = node_runs_disk(n),
	    .certificate_end = n->spec->tls.present ? n->certificate_end : 0,
	    .refused = o->refused,
	    .restarts = n->tried.restarts,
	    .settled = object_settled(o),
	    .restart_required = n->restart_required,
	    .wipe_required = n->wipe_required,
	    .since = n->since,
	    .template_reason = "this version always boots",
	    .host_key = n->host_key,
	    .ssh_user = n->spec->ssh_user,
	    .key_file = node_key_file(n),
	    .virtual = n->driver->virtual,
	};
	if (n->guest_look)
		ret->guest = *n->guest_look;
	ret->guest.right = n->guest_right == YES;
	if (n->disk_look)
		ret->disk = *n->disk_look;
	if (n->tried.failed) {
		ret->failed_stage = stage_name(n->tried.failed_stage);
		ret->failed_sentence =
		    n->failed_sentence ? n->failed_sentence : "";
	}
	view_stages(n, ret);
	view_nics(n, ret);
	view_volumes(n, ret);
	view_reason(n, ret);
}

bool node_drift(const struct object *o, size_t i, struct drift_view *ret,
    uint64_t *ret_seen)
{
	const struct node *n = as_node(o);

	*ret_seen = n->drift_seen;
	if (i >= n->n_drift)
		return false;
	*ret = (struct drift_view){n->drift[i].key, n->drift[i].detail};
	return true;
}

void node_plan_view(const struct object *o, struct plan_view *ret)
{
	const struct node *n = as_node(o);
	const struct plan *p = &n->plan;

	*ret = (struct plan_view){
	    .step = p->step == STEP_NONE ? "" : step_name(p->step),
	    .stage = p->stage < STAGES ? stage_name(p->stage) : "",
	    .why = p->why,
	    .waiting_for = p->waiting_for,
	};
	/* A look that is due is nothing to be done. */
	if (p->settled)
		ret->step = ret->why = ret->waiting_for = "";
}

const char *object_effective(struct object *o)
{
	static const enum spec_kind kinds[] = {
	    [OBJECT_CLUSTER] = SPEC_CLUSTER,
	    [OBJECT_NETWORK] = SPEC_NETWORK,
	    [OBJECT_IMAGE] = SPEC_IMAGE,
	    [OBJECT_NODE] = SPEC_NODE,
	};

	return effective(o, kinds[o->kind]);
}

void network_view(struct object *o, struct network_view *ret)
{
	struct network *net = as_network(o);

	*ret = (struct network_view){
	    .name = o->name,
	    .number = o->number,
	    .state = network_word(net),
	    .spec = net->spec,
	    .subnet = net->subnet,
	    .prefix = net->prefix,
	    .look = net->look,
	    .ports = net->ports,
	    .n_ports = net->n_ports,
	    .ports_seen = net->ports_seen,
	    .failed_sentence = net->failed_sentence,
	    .refused = o->refused,
	    .users = (unsigned)net->n_users,
	    .reach_pending = net->reach_stale && net->held > 0,
	};
}

void image_view(struct object *o, struct image_view *ret)
{
	struct image *img = as_image(o);

	*ret = (struct image_view){
	    .name = o->name,
	    .number = o->number,
	    .state = img->state,
	    .spec = img->spec,
	    .look = img->look,
	    .failed_sentence = img->failed_sentence,
	    .refused = o->refused,
	    .percent = img->doing == IMG_ENSURING ? img->percent : -1,
	    .detail = img->detail ? img->detail : "",
	};
}

static enum cluster_state word(const struct cluster *c)
{
	size_t all = c->count[OBJECT_NODE];

	if (c->in_state[STATE_FAILED])
		return CLUSTER_FAILED;
	if (c->in_state[STATE_UP] + c->in_state[STATE_DOWN] < all)
		return CLUSTER_CONVERGING;
	return c->in_state[STATE_UP] ? CLUSTER_UP : CLUSTER_DOWN;
}

void cluster_view(struct cluster *c, struct cluster_view *ret)
{
	*ret = (struct cluster_view){
	    .state = word(c),
	    .spec = c->spec,
	    .refused = c->o.refused,
	    .settled = object_settled(&c->o),
	    .key_file = c->key_file,
	    .known_hosts_file = c->known_hosts,
	    .seq = c->seq,
	    .certificate_end = c->certificate_end,
	    .repair = c->spec->on_drift == DRIFT_REPAIR,
	};
	memcpy(ret->counts, c->in_state, sizeof(ret->counts));
	for (int i = 0; i < TLS_TEXTS; i++)
		ret->tls[i] = buf_str(&c->tls[i]);
}

static bool network_settled(const struct network *net)
{
	if (net->failed_sentence)
		return true;
	if (net->doing == NET_OBSERVING || net->doing == NET_ENSURING ||
	    net->doing == NET_REMOVING)
		return false;
	if (net->look.state == NETWORK_RUNNING && !network_plugs_known(net))
		return false;
	return !net->measuring && !(net->reach_stale && net->held);
}

bool object_settled(const struct object *o)
{
	const struct cluster *c = o->c;
	const struct node *n = as_node(o);

	switch (o->kind) {
	case OBJECT_NODE:
		return n->planned && n->plan.settled && !n->pending &&
		       (n->doing == STEP_NONE || n->periodic);
	case OBJECT_NETWORK:
		return network_settled(as_network(o));
	case OBJECT_IMAGE:
		return as_image(o)->doing == IMG_IDLE;
	case OBJECT_CLUSTER:
	case OBJECT_KINDS:
		break;
	}
	if (c->unsettled || c->dirty_first)
		return false;
	EACH_OBJECT (net, (struct cluster *)c, OBJECT_NETWORK) {
		if (!network_settled(as_network(net)))
			return false;
	}
	return true;
}

void cluster_refused(struct object *o, const char *file, const char *sentence)
{
	size_t len = strlen(file);

	if (!sentence) {
		if (!o->refused || strncmp(o->refused, file, len) != 0 ||
		    o->refused[len] != ':')
			return;
		free(TAKE_PTR(o->refused));
	} else {
		_cleanup_buf_ struct buf b = {0};

		buf_escaped(&b, sentence, strcspn(sentence, "\n"));
		free(o->refused);
		o->refused = xasprintf("%s: %s", file, buf_str(&b));
		event(o, "refused", NULL, NULL, file, "%s", buf_str(&b));
	}
	touch(o, ASPECT_ERROR | ASPECT_OBSERVED);
}
