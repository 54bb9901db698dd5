// SPDX-License-Identifier: Apache-2.0
/*
 * node.json: what is stored of a node beside its spec: number, wanted power,
 * what is known of its disk.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include "engine/engine.h"

void node_meta_done(struct node_meta *m)
{
	free(m->laid_out_spec);
	free(m->disk);
	free(m->installed);
	free(m->volumes);
	*m = (struct node_meta){0};
}

static json_t *volumes_json(const struct node_meta *m)
{
	json_t *all = json_object();

	for (size_t i = 0; i < m->n_volumes; i++)
		json_object_set_new(all, m->volumes[i].name,
		    json_pack("{s:i, s:s}", "number", (int)m->volumes[i].number,
			"uuid", m->volumes[i].uuid));
	return all;
}

void node_meta_text(const struct node *n, struct buf *ret)
{
	const struct node_meta *m = &n->meta;
	enum power power = n->pending ? n->pending_power : m->power;
	bool wipe = n->pending ? n->pending_wipe : m->wipe;
	json_t *o = json_pack("{s:i, s:s, s:b, s:b, s:b}", "number",
	    (int)n->o.number, "power", power_name(power), "wipe", wipe,
	    "disk_used", m->disk_used, "laid_out", m->laid_out);
	char *text;

	if (m->laid_out_spec)
		json_object_set_new(
		    o, "laid_out_spec", json_string(m->laid_out_spec));
	if (m->disk) {
		json_t *list = json_array();

		for (size_t i = 0; i < PARTITIONS_MAX; i++) {
			if (!m->disk->partition_uuid[i][0])
				break;
			json_array_append_new(
			    list, json_string(m->disk->partition_uuid[i]));
		}
		json_object_set_new(o, "disk_uuid", json_string(m->disk->uuid));
		json_object_set_new(o, "partition_uuids", list);
	}
	if (m->installed) {
		json_object_set_new(o, "installed", json_string(m->installed));
		json_object_set_new(o, "installed_kind",
		    json_string(image_kind_name(m->installed_kind)));
		json_object_set_new(
		    o, "own_kernel", json_boolean(m->own_kernel));
	}
	if (m->n_volumes)
		json_object_set_new(o, "volumes", volumes_json(m));
	text = json_dumps(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	buf_printf(ret, "%s\n", text);
	free(text);
	json_decref(o);
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static void parse_disk(struct node_meta *m, const json_t *o)
{
	const char *uuid = json_string_value(json_object_get(o, "disk_uuid"));
	const json_t *list = json_object_get(o, "partition_uuids");
	size_t n = MIN(json_array_size(list), (size_t)PARTITIONS_MAX);

	if (!uuid)
		return;
	m->disk = xcalloc(1, sizeof(*m->disk));
	snprintf(m->disk->uuid, sizeof(m->disk->uuid), "%s", uuid);
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		snprintf(m->disk->partition_uuid[i],
		    sizeof(m->disk->partition_uuid[i]), "%s", s ? s : "");
	}
}

static void parse_installed(struct node_meta *m, const json_t *o)
{
	const char *digest = json_string_value(json_object_get(o, "installed"));
	const char *kind =
	    json_string_value(json_object_get(o, "installed_kind"));

	for (int k = 0; digest && kind && k < IMAGE_KINDS; k++) {
		if (!STREQ(image_kind_name(k), kind))
			continue;
		m->installed = xstrdup(digest);
		m->installed_kind = k;
	}
}

static void parse_volumes(struct node_meta *m, json_t *all)
{
	const char *name;
	json_t *v;

	json_object_foreach (all, name, v) {
		const char *uuid =
		    json_string_value(json_object_get(v, "uuid"));
		json_int_t number =
		    json_integer_value(json_object_get(v, "number"));
		struct volume_record *r;

		if (!uuid || number < 1)
			continue;
		m->volumes = xrealloc(
		    m->volumes, (m->n_volumes + 1) * sizeof(*m->volumes));
		r = &m->volumes[m->n_volumes++];
		*r = (struct volume_record){.number = (unsigned)number};
		snprintf(r->name, sizeof(r->name), "%s", name);
		snprintf(r->uuid, sizeof(r->uuid), "%s", uuid);
	}
}

int node_meta_parse(struct node *n, const char *text, struct err *err)
{
	json_error_t e;
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &e);
	const char *power, *laid;
	json_int_t number;
	int r = 0;

	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(
		    err, -EINVAL, "node.json: line %d: %s", e.line, e.text);
	}
	number = json_integer_value(json_object_get(o, "number"));
	power = json_string_value(json_object_get(o, "power"));
	laid = json_string_value(json_object_get(o, "laid_out_spec"));
	if (number < 1 || number > NODES_MAX || !power ||
	    power_parse(power, &n->meta.power) < 0) {
		r = err_set(err, -EINVAL,
		    "node.json: number or power is missing or wrong");
	} else {
		n->o.number = (uint32_t)number;
		n->meta.wipe = flag(o, "wipe");
		n->meta.disk_used = flag(o, "disk_used");
		n->meta.laid_out = flag(o, "laid_out");
		n->meta.laid_out_spec = xstrdup(laid);
		parse_disk(&n->meta, o);
		parse_installed(&n->meta, o);
		n->meta.own_kernel = flag(o, "own_kernel");
		parse_volumes(&n->meta, json_object_get(o, "volumes"));
	}
	json_decref(o);
	return r;
}

void node_meta_put(struct node *n, store_done_fn done, void *userdata)
{
	_cleanup_free_ char *path = xasprintf("nodes/%s/node.json", n->o.name);
	_cleanup_buf_ struct buf text = {0};

	node_meta_text(n, &text);
	store_put(n->o.c, path, text.data, text.len, done, userdata);
}
