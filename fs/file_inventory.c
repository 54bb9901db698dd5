// SPDX-License-Identifier: Apache-2.0
/*
 * `inventory.json`: the nodes for Ansible, in the form that its static
 * inventory reads (plugin yaml; JSON is YAML): hosts below "all", groups by
 * network and by state below "children".  Names of groups must be words:
 * "network_lan" with '_' for '-', which no name here has.
 */
#include "fs/files.h"
#include "fs/json_out.h"

/* A group and its hosts: names, each with its NUL. */
struct group {
	char *name;
	struct buf hosts;
};

struct groups {
	struct group *by_network; /* [number] */
	size_t n;
	struct group by_state[NODE_STATES];
};

static void group_add(struct group *g, const char *host)
{
	const char *last = g->hosts.len
			       ? g->hosts.data + g->hosts.len - strlen(host) - 1
			       : NULL;

	/* Two NICs may be on one network. */
	if (last && last >= g->hosts.data && STREQ(last, host))
		return;
	buf_append(&g->hosts, host, strlen(host) + 1);
}

/* -o arguments as ssh_config(5) reads them, then quoted for Ansible, which
 * splits them as a shell would. */
static char *ssh_args(const struct cluster_view *c, const struct node_view *v)
{
	_cleanup_strv_ char **argv = NULL;
	_cleanup_buf_ struct buf file = {0};

	for (const char *s = c->known_hosts_file; *s; s++) {
		if (*s == '%') /* a token otherwise */
			buf_putc(&file, '%');
		buf_putc(&file, *s);
	}
	strv_push(&argv, "-o");
	strv_pushf(&argv, "UserKnownHostsFile=\"%s\"", buf_str(&file));
	strv_push(&argv, "-o");
	strv_push(&argv, "GlobalKnownHostsFile=/dev/null");
	strv_push(&argv, "-o");
	strv_pushf(&argv, "HostKeyAlias=%s", v->name);
	strv_push(&argv, "-o");
	strv_push(&argv, "StrictHostKeyChecking=yes");
	strv_push(&argv, "-o");
	strv_push(&argv, "IdentitiesOnly=yes");
	return strv_quote(argv);
}

static void host(
    struct json_out *j, const struct cluster_view *c, const struct node_view *v)
{
	_cleanup_free_ char *args = ssh_args(c, v);
	char ip[16];

	jout_open(j, v->name);
	jout_string(j, "ansible_host", "127.0.0.1");
	jout_number(j, "ansible_port", v->ssh_port);
	jout_string(j, "ansible_user", v->ssh_user);
	jout_string(j, "ansible_ssh_private_key_file", v->key_file);
	jout_string(j, "ansible_ssh_common_args", args);
	jout_string(j, "rackfs_state", node_state_name(v->state));
	jout_open(j, "rackfs_addresses");
	for (size_t i = 0; i < v->n_nics; i++) {
		if (!v->nics[i].has_address)
			continue;
		format_ip(v->nics[i].address, ip);
		jout_string(j, v->nics[i].spec->name, ip);
	}
	jout_close(j);
	jout_close(j);
}

static void into_groups(
    struct groups *g, const struct render *r, const struct node_view *v)
{
	for (size_t i = 0; i < v->n_nics; i++) {
		const struct object *net = cluster_find(
		    r->cluster, OBJECT_NETWORK, v->nics[i].network);

		if (net && object_number(net) < g->n)
			group_add(&g->by_network[object_number(net)], v->name);
	}
	group_add(&g->by_state[v->state], v->name);
}

static void begin_groups(struct groups *g, const struct render *r)
{
	struct object *o = NULL;

	while ((o = cluster_next(
		    r->cluster, OBJECT_NETWORK, o ? object_number(o) : 0)))
		g->n = object_number(o) + 1;
	g->by_network = xcalloc(g->n + 1, sizeof(*g->by_network));
	while ((o = cluster_next(
		    r->cluster, OBJECT_NETWORK, o ? object_number(o) : 0))) {
		char *name = xasprintf("network_%s", object_name(o));

		for (char *s = name; *s; s++) {
			if (*s == '-')
				*s = '_';
		}
		g->by_network[object_number(o)].name = name;
	}
	for (int s = 0; s < NODE_STATES; s++)
		g->by_state[s].name = xasprintf("state_%s", node_state_name(s));
}

static void end_group(struct group *g, struct json_out *j)
{
	const char *s = g->hosts.data;
	const char *end = s + g->hosts.len;

	if (g->name) {
		jout_open(j, g->name);
		jout_open(j, "hosts");
		for (; s < end; s += strlen(s) + 1)
			jout_string(j, s, NULL);
		jout_close(j);
		jout_close(j);
	}
	free(g->name);
	buf_done(&g->hosts);
}

void render_inventory(const struct render *r, struct buf *ret)
{
	struct groups g = {0};
	struct cluster_view c;
	struct object *o = NULL;
	struct json_out j;

	cluster_view(r->cluster, &c);
	begin_groups(&g, r);
	jout_begin(&j, r->clock, ret);
	jout_open(&j, "all");
	jout_open(&j, "hosts");
	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		struct node_view v;

		node_view(o, &v);
		host(&j, &c, &v);
		into_groups(&g, r, &v);
	}
	jout_close(&j);
	jout_open(&j, "children");
	for (size_t i = 0; i < g.n; i++)
		end_group(&g.by_network[i], &j);
	for (int s = 0; s < NODE_STATES; s++)
		end_group(&g.by_state[s], &j);
	jout_close(&j);
	jout_close(&j);
	jout_end(&j);
	free(g.by_network);
}
