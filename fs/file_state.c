// SPDX-License-Identifier: Apache-2.0
/*
 * `state` of every kind of object: one word; a write is one verb.
 */
#include <ctype.h>
#include <errno.h>
#include "fs/files.h"

#define VERB_TEXT_MAX 64

static const char *word(const struct render *r)
{
	struct cluster_view c;
	struct network_view n;
	struct image_view i;

	switch (object_kind(r->object)) {
	case OBJECT_CLUSTER:
		cluster_view(r->cluster, &c);
		return cluster_state_name(c.state);
	case OBJECT_NETWORK:
		network_view(r->object, &n);
		return network_state_name(n.state);
	case OBJECT_IMAGE:
		image_view(r->object, &i);
		return image_state_name(i.state);
	case OBJECT_NODE:
		return node_state_name(node_state(r->object));
	case OBJECT_KINDS:
		break;
	}
	return "?";
}

void render_state(const struct render *r, struct buf *ret)
{
	buf_puts(ret, word(r));
	buf_putc(ret, '\n');
}

static void list_verbs(unsigned verbs, struct buf *ret)
{
	for (int v = 0; v < VERBS; v++) {
		if (!(verbs & 1u << v))
			continue;
		if (ret->len)
			buf_puts(ret, ", ");
		buf_puts(ret, verb_name((enum verb)v));
	}
}

void write_state(const struct render *r, const char *text, size_t len,
    cluster_reply_fn reply, void *userdata)
{
	unsigned verbs = cluster_verbs(object_kind(r->object));
	_cleanup_buf_ struct buf names = {0}, shown = {0};
	_cleanup_free_ char *name = NULL;
	struct err err = ERR_INIT;
	enum verb verb;

	if (len > 0 && text[len - 1] == '\n')
		len--;
	name = xstrndup(text, len);
	if (strlen(name) == len && verb_parse(name, &verb) == 0 &&
	    (verbs & 1u << verb)) {
		cluster_verb(r->object, verb, reply, userdata);
		return;
	}
	list_verbs(verbs, &names);
	buf_json_string(&shown, name);
	err_set(&err, -EINVAL, "%.*s%s is no verb; the verbs are: %s",
	    VERB_TEXT_MAX, buf_str(&shown),
	    shown.len > VERB_TEXT_MAX ? "..." : "", buf_str(&names));
	reply(err.code, &err, userdata);
}
