/* SPDX-License-Identifier: Apache-2.0
 *
 * The scripts that guest_ssh runs in a guest, and the parsers of what they
 * print.  A netboot guest has busybox; ping and ip may also be those of
 * iputils and iproute2.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "drivers/guest_parse.h"

#define REACH_COUNT 3
#define DIFFERENCES 6 /* named for people; more are counted */

/* Interfaces may come after sshd does: 10 s are given to them. */
const char guest_facts_script[] =
    "i=0\n"
    "for m; do\n"
    "	until cat /sys/class/net/*/address 2>/dev/null | grep -qixF \"$m\"; "
    "do\n"
    "		i=$((i+1)); [ $i -gt 100 ] && break; sleep 0.1\n"
    "	done\n"
    "done\n"
    "echo \"hostname $(cat /proc/sys/kernel/hostname)\"\n"
    "echo \"boot_id $(cat /proc/sys/kernel/random/boot_id)\"\n"
    "echo \"hosts $(sha256sum </etc/hosts 2>/dev/null)\"\n"
    "echo \"keys $(sha256sum </root/.ssh/authorized_keys 2>/dev/null)\"\n"
    "[ ! -r /etc/rackfs/node.conf ] || (\n"
    "	. /etc/rackfs/node.conf; echo \"nics $NICS\")\n"
    "for d in /sys/class/net/*; do\n"
    "	[ -r \"$d/address\" ] || continue\n"
    "	echo \"link ${d##*/} $(cat \"$d/address\" \"$d/mtu\" \"$d/flags\" |\n"
    "		tr '\\n' ' ')\"\n"
    "done\n"
    "ip -o -4 addr show | sed 's/^/addr /'\n"
    "echo end\n";

const char guest_reach_script[] =
    "n=0\n"
    "while read -r a; do\n"
    "	{ o=$(ping -q -c 3 -i 0.2 -W 1 \"$a\" 2>&1 | tr '\\n' ' ')\n"
    "	echo \"$a $o\"; } </dev/null &\n"
    "	n=$((n+1)); [ $((n % 8)) != 0 ] || wait\n"
    "done\n"
    "wait\n";

/* --- facts ------------------------------------------------------------- */

/* Copies a word of at most size - 1 printable bytes; false when it is none. */
static bool take_word(const char *s, size_t n, char *ret, size_t size)
{
	if (n == 0 || n >= size)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)s[i]))
			return false;
	memcpy(ret, s, n);
	ret[n] = 0;
	return true;
}

static bool is_device(const char *s)
{
	if (!*s || STREQ(s, ".") || STREQ(s, ".."))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("_.-@:", *s))
			return false;
	return true;
}

static void take_link(struct guest_facts *f, const char *line)
{
	struct fact_link l = {0};
	char mac[18];
	unsigned flags;
	if (f->n_links == FACT_LINKS_MAX ||
	    sscanf(line, "%15s %17s %7u %8x", l.dev, mac, &l.mtu, &flags) !=
		4 ||
	    !is_device(l.dev) || parse_mac(mac, l.mac) < 0)
		return;
	l.up = flags & 1; /* IFF_UP */
	f->links[f->n_links++] = l;
}

static void take_addr(struct guest_facts *f, const char *line)
{
	struct fact_addr a = {0};
	char ip[16];
	if (f->n_addrs == FACT_ADDRS_MAX ||
	    sscanf(line, "%*u: %15s inet %15[0-9.]/%2u", a.dev, ip,
		&a.prefix) != 3 ||
	    !is_device(a.dev) || a.prefix > 32 || parse_ip(ip, &a.address) < 0)
		return;
	f->addrs[f->n_addrs++] = a;
}

static void take_fact(struct guest_facts *f, const char *line)
{
	char *rest = strchr(line, ' ');
	if (!rest) {
		if (STREQ(line, "end"))
			f->whole = true;
		return;
	}
	*rest++ = 0;
	size_t word = strcspn(rest, " ");
	if (STREQ(line, "hostname"))
		take_word(rest, word, f->hostname, sizeof(f->hostname));
	else if (STREQ(line, "boot_id"))
		take_word(rest, word, f->boot_id, sizeof(f->boot_id));
	else if (STREQ(line, "hosts"))
		take_word(rest, word, f->hosts_digest, sizeof(f->hosts_digest));
	else if (STREQ(line, "keys"))
		take_word(rest, word, f->keys_digest, sizeof(f->keys_digest));
	else if (STREQ(line, "nics") && strlen(rest) < sizeof(f->nics))
		memcpy(f->nics, rest, strlen(rest) + 1);
	else if (STREQ(line, "link"))
		take_link(f, rest);
	else if (STREQ(line, "addr"))
		take_addr(f, rest);
}

void guest_facts_parse(const char *text, struct guest_facts *ret)
{
	*ret = (struct guest_facts){0};
	_cleanup_free_ char *copy = xstrdup(text);
	for (char *p = copy, *line; (line = strsep(&p, "\n"));)
		take_fact(ret, line);
}

/* --- what differs ------------------------------------------------------ */

struct compare {
	const struct guest_slice *slice;
	const struct guest_facts *facts;
	struct guest_fix *fix;
	unsigned n;
};

static void PRINTF(2, 3) differs(struct compare *c, const char *fmt, ...)
{
	struct buf *b = &c->fix->wrong;
	if (++c->n > DIFFERENCES)
		return;
	if (c->n > 1)
		buf_puts(b, "; ");
	if (c->n == DIFFERENCES) {
		buf_puts(b, "and more");
		return;
	}
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

/* One command, every word quoted; ends at NULL. */
static void __attribute__((sentinel))
command(struct compare *c, const char *first, ...)
{
	_cleanup_strv_ char **argv = strv_new(first, NULL);
	va_list ap;
	va_start(ap, first);
	for (const char *s; (s = va_arg(ap, const char *));)
		strv_push(&argv, s);
	va_end(ap);
	_cleanup_free_ char *line = strv_quote(argv);
	buf_printf(&c->fix->script, "%s\n", line);
}

static uint32_t mask(unsigned prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

static void format_net(uint32_t ip, unsigned prefix, char out[20])
{
	char text[16];
	format_ip(ip, text);
	snprintf(out, 20, "%s/%u", text, prefix & 63);
}

/* "525400000102=" */
static void format_key(const uint8_t mac[6], char out[14])
{
	snprintf(out, 14, "%02x%02x%02x%02x%02x%02x=", mac[0], mac[1], mac[2],
	    mac[3], mac[4], mac[5]);
}

/* The value of NICS in etc/rackfs/node.conf (identity.h). */
static char *nics_line(const struct guest_slice *s)
{
	struct buf b = {0};
	for (size_t i = 0; i < s->n_nics; i++) {
		const struct guest_nic *n = &s->nics[i];
		char key[14], net[20] = "-";
		format_key(n->mac, key);
		if (n->has_address)
			format_net(n->address, n->prefix, net);
		buf_printf(&b, "%s%s%s,%u", i ? " " : "", key, net, n->mtu);
	}
	return buf_take(&b);
}

/* Did we give this NIC that address (so says its node.conf)? */
static bool was_ours(const struct compare *c, const struct guest_nic *nic,
    const struct fact_addr *a)
{
	char key[14], net[20];
	format_key(nic->mac, key);
	format_net(a->address, a->prefix, net);
	_cleanup_free_ char *entry = xasprintf("%s%s,", key, net);
	return strstr(c->facts->nics, entry) != NULL;
}

/* Addresses that a user added by hand stay, unless they lie in our subnet. */
static void compare_addresses(
    struct compare *c, const struct guest_nic *nic, const struct fact_link *l)
{
	bool found = false;
	char net[20];
	for (size_t i = 0; i < c->facts->n_addrs; i++) {
		const struct fact_addr *a = &c->facts->addrs[i];
		if (!STREQ(a->dev, l->dev))
			continue;
		if (nic->has_address && a->address == nic->address &&
		    a->prefix == nic->prefix) {
			found = true;
			continue;
		}
		bool inside = nic->has_address && ((a->address ^ nic->address) &
						      mask(nic->prefix)) == 0;
		if (!inside && !was_ours(c, nic, a))
			continue;
		format_net(a->address, a->prefix, net);
		differs(c, "%s has the address %s", l->dev, net);
		command(c, "ip", "addr", "del", net, "dev", l->dev, NULL);
	}
	if (!nic->has_address || found)
		return;
	format_net(nic->address, nic->prefix, net);
	differs(c, "%s has not the address %s", l->dev, net);
	command(c, "ip", "addr", "add", net, "brd", "+", "dev", l->dev, NULL);
}

static void compare_nic(struct compare *c, const struct guest_nic *nic)
{
	const struct fact_link *l = NULL;
	for (size_t i = 0; i < c->facts->n_links && !l; i++)
		if (memcmp(c->facts->links[i].mac, nic->mac, 6) == 0)
			l = &c->facts->links[i];
	if (!l) {
		char mac[18];
		format_mac(nic->mac, mac);
		differs(c, "no interface has the MAC %s", mac);
		c->fix->missing = true;
		return;
	}
	if (l->mtu != nic->mtu || !l->up) {
		char mtu[12];
		snprintf(mtu, sizeof(mtu), "%u", nic->mtu);
		if (!l->up)
			differs(c, "%s is down", l->dev);
		if (l->mtu != nic->mtu)
			differs(c, "the MTU of %s is %u, not %s", l->dev,
			    l->mtu, mtu);
		command(c, "ip", "link", "set", "dev", l->dev, "mtu", mtu, "up",
		    NULL);
	}
	compare_addresses(c, nic, l);
}

/* node.conf is what init goes by when it starts a daemon anew. */
static void compare_conf(struct compare *c, bool named)
{
	_cleanup_free_ char *nics = nics_line(c->slice);
	bool same = STREQ(nics, c->facts->nics);
	if (same && named)
		return;
	if (!same)
		differs(c, "NICS in /etc/rackfs/node.conf is old");
	_cleanup_free_ char *name = xasprintf("NAME=%s", c->slice->hostname);
	_cleanup_free_ char *line = xasprintf("NICS='%s'", nics);
	_cleanup_strv_ char **words = strv_new(name, line, NULL);
	_cleanup_free_ char *quoted = strv_quote(words);
	buf_printf(&c->fix->script,
	    "mkdir -p /etc/rackfs\n"
	    "cd /etc/rackfs\n"
	    "touch node.conf\n"
	    "{ grep -v -e '^NAME=' -e '^NICS=' node.conf || :\n"
	    "printf '%%s\\n' %s; } >node.conf.new\n"
	    "mv node.conf.new node.conf\n",
	    quoted);
}

void guest_compare(const struct guest_slice *slice,
    const struct guest_facts *facts, const char *hosts_digest,
    const char *keys_digest, struct guest_fix *ret)
{
	struct compare c = {.slice = slice, .facts = facts, .fix = ret};
	*ret = (struct guest_fix){0};
	buf_puts(&ret->script, "set -e\n");
	size_t empty = ret->script.len;
	bool named = STREQ(slice->hostname, facts->hostname);
	if (!named) {
		differs(&c, "the hostname is \"%s\", not \"%s\"",
		    facts->hostname, slice->hostname);
		_cleanup_strv_ char **words = strv_new(slice->hostname, NULL);
		_cleanup_free_ char *quoted = strv_quote(words);
		buf_printf(&ret->script,
		    "hostname %s\nprintf '%%s\\n' %s >/etc/hostname\n", quoted,
		    quoted);
	}
	for (size_t i = 0; i < slice->n_nics; i++)
		compare_nic(&c, &slice->nics[i]);
	compare_conf(&c, named);
	if (!STREQ(hosts_digest, facts->hosts_digest)) {
		differs(&c, "/etc/hosts is old");
		ret->hosts = true;
	}
	if (keys_digest[0] && !STREQ(keys_digest, facts->keys_digest)) {
		differs(&c, "authorized_keys are old");
		ret->keys = true;
	}
	if (ret->script.len == empty)
		buf_clear(&ret->script);
}

void guest_fix_done(struct guest_fix *f)
{
	buf_done(&f->wrong);
	buf_done(&f->script);
}

/* --- reach ------------------------------------------------------------- */

static void parse_ping(const char *text, struct guest_reach *ret)
{
	unsigned sent, received;
	double low, avg;
	ret->sent = REACH_COUNT; /* ping that can't send says no figures */
	/* "3 packets transmitted, 3 packets received, 0% packet loss", or
	 * "3 packets transmitted, 3 received, ..." */
	const char *p = strstr(text, " packets transmitted, ");
	while (p && p > text && isdigit((unsigned char)p[-1]))
		p--;
	if (!p ||
	    sscanf(p, "%4u packets transmitted, %4u", &sent, &received) != 2)
		return;
	ret->sent = MIN(sent, REACH_COUNT);
	ret->received = MIN(received, ret->sent);
	/* "round-trip min/avg/max = 0.1/0.2/0.3 ms", "rtt min/avg/max/mdev = "
	 */
	p = strstr(text, "min/avg/max");
	p = p ? strchr(p, '=') : NULL;
	if (p && ret->received && sscanf(p, "= %20lf/%20lf", &low, &avg) == 2 &&
	    avg >= 0 && avg < 1e9)
		ret->rtt_ms = avg;
}

void guest_reach_parse(const char *text, const struct guest_peer *peers,
    size_t n, struct guest_reach *ret)
{
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct guest_reach){.rtt_ms = -1};
		snprintf(ret[i].name, sizeof(ret[i].name), "%s", peers[i].name);
	}
	_cleanup_free_ char *copy = xstrdup(text);
	for (char *p = copy, *line; (line = strsep(&p, "\n"));) {
		char *rest = strchr(line, ' ');
		uint32_t address;
		if (!rest)
			continue;
		*rest++ = 0;
		if (parse_ip(line, &address) < 0)
			continue;
		for (size_t i = 0; i < n; i++)
			if (peers[i].address == address)
				parse_ping(rest, &ret[i]);
	}
}
