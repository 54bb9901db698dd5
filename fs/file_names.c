// SPDX-License-Identifier: Apache-2.0
/*
 * Names of the nodes for other programs: `hosts`, `known_hosts`, `ssh_config`.
 */
#include "fs/files.h"

void render_hosts(const struct render *r, struct buf *ret)
{
	buf_puts(ret, cluster_hosts(r->cluster));
}

/* Under all the names that ssh may know it by. */
void render_known_hosts(const struct render *r, struct buf *ret)
{
	struct cluster_view c;
	struct object *o = NULL;
	struct node_view v;
	char ip[16];

	cluster_view(r->cluster, &c);
	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		const struct nic_view *nic;

		node_view(o, &v);
		if (!v.host_key)
			continue;
		nic = node_first_address(&v);
		buf_printf(ret, "%s,%s.%s,[127.0.0.1]:%u", v.name, v.name,
		    c.spec->domain, v.ssh_port);
		if (nic) {
			format_ip(nic->address, ip);
			buf_printf(ret, ",%s", ip);
		}
		buf_printf(ret, " %s\n", v.host_key);
	}
}

/* As ssh_config(5) wants it.  It knows no way to write a double quote. */
static void quoted(struct buf *ret, const char *key, const char *value)
{
	buf_printf(ret, "    %s \"", key);
	for (; *value; value++) {
		if (*value == '%') /* a token otherwise */
			buf_putc(ret, '%');
		buf_putc(ret, *value);
	}
	buf_puts(ret, "\"\n");
}

void render_ssh_config(const struct render *r, struct buf *ret)
{
	struct cluster_view c;
	struct object *o = NULL;
	struct node_view v;

	cluster_view(r->cluster, &c);
	while ((o = cluster_next(
		    r->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		node_view(o, &v);
		buf_printf(ret,
		    "Host %s %s.%s\n"
		    "    HostName 127.0.0.1\n"
		    "    Port %u\n"
		    "    User %s\n"
		    "    HostKeyAlias %s\n",
		    v.name, v.name, c.spec->domain, v.ssh_port, v.ssh_user,
		    v.name);
		quoted(ret, "IdentityFile", v.key_file);
		quoted(ret, "UserKnownHostsFile", c.known_hosts_file);
		buf_puts(ret, "    GlobalKnownHostsFile /dev/null\n"
			      "    StrictHostKeyChecking yes\n"
			      "    IdentitiesOnly yes\n"
			      "\n");
	}
}
