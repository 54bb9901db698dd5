// SPDX-License-Identifier: Apache-2.0
/*
 * Everything that is to be in a node's guest, as one list: what makes an
 * installed system this node (names, addresses, keys, mounts), the
 * certificate, and the files, commands and services of the spec.  Drivers
 * compare it with what is there; `drift`, `plan` and `checks` come from that.
 * A netboot system of ours has its identity already: only the spec's part.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include "engine/engine.h"
#include "identity.h"

#define NETWORKS_RELOAD                                                        \
	"networkctl reload || systemctl restart systemd-networkd"

char *setup_keep(struct setup_list *l, char *text)
{
	if (l->n_texts == l->cap_texts) {
		l->cap_texts = MAX((size_t)128, 2 * l->cap_texts);
		l->texts = xrealloc(l->texts, l->cap_texts * sizeof(*l->texts));
	}
	return l->texts[l->n_texts++] = text;
}

struct setup_file *setup_add(struct setup_list *l, const char *key,
    const char *path, const void *data, size_t len, unsigned mode,
    const char *owner)
{
	struct setup_file *f;

	if (l->slice.n_files == l->cap_files) {
		l->cap_files = MAX((size_t)32, 2 * l->cap_files);
		l->files = xrealloc(l->files, l->cap_files * sizeof(*l->files));
	}
	f = &l->files[l->slice.n_files++];
	*f = (struct setup_file){
	    .key = setup_keep(l, xstrdup(key)),
	    .path = setup_keep(l, xstrdup(path)),
	    .mode = mode,
	    .owner = setup_keep(l, xstrdup(owner)),
	    .len = len,
	};
	if (data)
		f->data = setup_keep(
		    l, xasprintf("%.*s", (int)len, (const char *)data));
	l->slice.files = l->files;
	return f;
}

static struct setup_file *add_text(struct setup_list *l, const char *key,
    const char *path, const struct buf *b)
{
	return setup_add(
	    l, key, path, b->data ? b->data : "", b->len, 0644, "root:root");
}

/* --- what makes an installed system this node --- */

static void add_networks(struct node *n, struct setup_list *l)
{
	_cleanup_buf_ struct buf b = {0};

	buf_puts(&b, "[Match]\nMACAddress=" MANAGEMENT_MAC "\n\n"
		     "[Link]\nRequiredForOnline=no\n\n"
		     "[Network]\nAddress=10.0.2.15/24\nIPv6AcceptRA=no\n"
		     "LinkLocalAddressing=no\n");
	if (n->spec->internet)
		buf_puts(&b, "Gateway=10.0.2.2\n");
	/* Neither is a name that a NIC of the spec can give. */
	add_text(l, "management",
	    "/etc/systemd/network/10-rackfs_management.network", &b)
	    ->apply = NETWORKS_RELOAD;
	for (size_t i = 0; i < n->n_nics; i++) {
		const struct nic *nic = &n->nics[i];
		char mac[18], ip[16], key[96], path[160];

		buf_clear(&b);
		format_mac(nic->mac, mac);
		buf_printf(&b,
		    "[Match]\nMACAddress=%s\n\n[Link]\nMTUBytes=%u\n"
		    "RequiredForOnline=no\n\n[Network]\n"
		    "LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
		    mac, nic->network->spec->mtu);
		if (nic->has_address) {
			format_ip(nic->address, ip);
			buf_printf(
			    &b, "Address=%s/%u\n", ip, nic->network->prefix);
		}
		snprintf(key, sizeof(key), "nics.%s.address", nic->spec->name);
		snprintf(path, sizeof(path),
		    "/etc/systemd/network/10-rackfs-%s.network",
		    nic->spec->name);
		add_text(l, key, path, &b)->apply = NETWORKS_RELOAD;
	}
}

static void fstab_line(
    struct buf *b, const char *uuid, const char *mount, enum filesystem fs)
{
	bool root = mount && STREQ(mount, "/");

	if (fs == FS_SWAP)
		buf_printf(b, "UUID=%s none swap sw,nofail 0 0\n", uuid);
	else if (mount)
		buf_printf(b, "UUID=%s %s %s %s 0 %d\n", uuid, mount,
		    filesystem_name(fs),
		    root ? "errors=remount-ro" : "defaults,nofail",
		    fs == FS_VFAT ? 0
		    : root        ? 1
				  : 2);
}

static void add_fstab(struct node *n, struct setup_list *l)
{
	const struct disk_spec *d =
	    n->laid && n->laid->disk.present ? &n->laid->disk : &n->spec->disk;
	_cleanup_buf_ struct buf b = {0};

	for (size_t i = 0; n->meta.disk && i < d->n_partitions; i++)
		if (d->partitions[i].filesystem != FS_NONE)
			fstab_line(&b, n->meta.disk->partition_uuid[i],
			    d->partitions[i].mount,
			    d->partitions[i].filesystem);
	for (size_t i = 0; i < n->spec->n_volumes; i++) {
		const struct volume_spec *v = &n->spec->volumes[i];

		for (size_t k = 0; k < n->meta.n_volumes; k++)
			if (STREQ(n->meta.volumes[k].name, v->name))
				fstab_line(&b, n->meta.volumes[k].uuid,
				    v->mount, v->filesystem);
	}
	add_text(l, "mounts", "/etc/fstab", &b)->apply =
	    "systemctl daemon-reload";
}

static int add_keys(struct node *n, struct setup_list *l, struct err *err)
{
	_cleanup_free_ char *path = node_key_path(n), *public = NULL;
	_cleanup_buf_ struct buf key = {0}, b = {0}, home = {0};
	const char *user = n->spec->ssh_user;
	char owner[80];
	int r = file_read(AT_FDCWD, path, 64 * KIB, &key);

	if (r < 0)
		return err_errno(err, r, "can't read the host key %s", path);
	r = node_host_key(n, &public, err);
	if (r < 0)
		return r;
	setup_add(l, "host key", "/etc/ssh/ssh_host_ed25519_key", key.data,
	    key.len, 0600, "root:root");
	buf_printf(&b, "%s\n", public);
	add_text(l, "host key", "/etc/ssh/ssh_host_ed25519_key.pub", &b);
	buf_clear(&b);
	buf_puts(&b, "HostKey /etc/ssh/ssh_host_ed25519_key\n"
		     "PermitRootLogin prohibit-password\nUseDNS no\n");
	add_text(l, "sshd", "/etc/ssh/sshd_config.d/10-rackfs.conf", &b);
	buf_clear(&b);
	names_keys(n->o.c, &b);
	snprintf(owner, sizeof(owner), "%s:%s", user, user);
	buf_printf(&home, "%s%s/.ssh/authorized_keys",
	    STREQ(user, "root") ? "/" : "/home/", user);
	setup_add(
	    l, "authorized_keys", buf_str(&home), b.data, b.len, 0600, owner);
	return 0;
}

static void add_hosts(struct node *n, struct setup_list *l)
{
	buf_puts(&l->hosts, names_hosts(n->o.c));
	add_text(l, "hosts", "/etc/hosts", &l->hosts);
}

/* SSH is not tried while the system boots: it says when SSH listens. */
static void add_mark(struct setup_list *l)
{
	static const char unit[] =
	    "[Unit]\nDescription=Tell rackfs that SSH listens\n"
	    "After=ssh.service sshd.service ssh.socket\n\n"
	    "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
	    "ExecStart=/bin/sh -c 'echo " MARK_READY " >/dev/ttyS0'\n\n"
	    "[Install]\nWantedBy=multi-user.target\n";
	static const char path[] = "/etc/systemd/system/rackfs-ready.service";

	setup_add(
	    l, "boot mark", path, unit, sizeof(unit) - 1, 0644, "root:root");
	setup_add(l, "boot mark",
	    "/etc/systemd/system/multi-user.target.wants/rackfs-ready.service",
	    path, sizeof(path) - 1, 0777, "root:root")
	    ->link = true;
}

/* The console belongs to whoever may do everything anyway. */
static void add_console(struct setup_list *l)
{
	static const char text[] =
	    "[Service]\nExecStart=\nExecStart=-/sbin/agetty "
	    "--autologin root --keep-baud 115200,57600,38400,9600 - $TERM\n";

	setup_add(l, "console",
	    "/etc/systemd/system/serial-getty@ttyS0.service.d/rackfs.conf",
	    text, sizeof(text) - 1, 0644, "root:root");
}

static int add_identity(struct node *n, struct setup_list *l, struct err *err)
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "%s\n", n->o.name);
	add_text(l, "hostname", "/etc/hostname", &b)->apply =
	    "hostname -F /etc/hostname";
	add_networks(n, l);
	add_fstab(n, l);
	if (n->spec->internet) {
		buf_clear(&b);
		buf_puts(&b, "nameserver 10.0.2.3\n");
		add_text(l, "resolver", "/etc/resolv.conf", &b);
	}
	if (node_system_kind(n) != IMAGE_CLOSURE)
		add_console(l);
	if (node_marks_disk(n))
		add_mark(l);
	return add_keys(n, l, err);
}

/* --- the spec's part --- */

static void add_files(struct node *n, struct setup_list *l)
{
	for (size_t i = 0; i < n->spec->n_files; i++) {
		const struct file_spec *s = &n->spec->files[i];
		_cleanup_free_ char *key = xasprintf("files.%s", s->path);
		struct setup_file *f = setup_add(l, key, s->path, s->content,
		    s->content ? strlen(s->content) : 0,
		    (unsigned)strtoul(s->mode, NULL, 8), s->owner);

		if (s->source)
			f->source = setup_keep(l, host_path(n->o.c, s->source));
	}
}

static void add_unit(
    struct node *n, const struct service_spec *s, struct setup_list *l)
{
	_cleanup_free_ char *path = NULL, *key = NULL;
	struct setup_file *f;

	if (!s->unit && !s->source)
		return;
	key = xasprintf("services.%s.unit", s->name);
	path = xasprintf("/etc/systemd/system/%s.service", s->name);
	f = setup_add(l, key, path, s->unit, s->unit ? strlen(s->unit) : 0,
	    0644, "root:root");
	if (s->source)
		f->source = setup_keep(l, host_path(n->o.c, s->source));
}

static void add_services(struct node *n, struct setup_list *l)
{
	size_t count = n->spec->n_services;

	l->services = xcalloc(MAX(count, (size_t)1), sizeof(*l->services));
	for (size_t i = 0; i < count; i++) {
		const struct service_spec *s = &n->spec->services[i];

		add_unit(n, s, l);
		l->services[i] = (struct setup_service){
		    .name = s->name,
		    .check = s->check,
		    .required = s->required,
		    .uses = s->uses,
		    .after = s->after,
		};
	}
	l->slice.services = l->services;
	l->slice.n_services = count;
}

static void add_runs(struct node *n, struct setup_list *l)
{
	size_t count = n->spec->n_runs;

	l->runs = xcalloc(MAX(count, (size_t)1), sizeof(*l->runs));
	for (size_t i = 0; i < count; i++)
		l->runs[i] = (struct setup_run){
		    .name = n->spec->runs[i].name,
		    .command = n->spec->runs[i].command,
		    .after = n->spec->runs[i].after,
		};
	l->slice.runs = l->runs;
	l->slice.n_runs = count;
}

int setup_make(
    struct node *n, bool offline, struct setup_list *l, struct err *err)
{
	bool disk = offline || node_runs_disk(n);
	enum install_way way = node_install_way(n);
	int r;

	*l = (struct setup_list){
	    .slice =
		{
		    .guest =
			n->guest ? n->driver->guest->session(n->guest) : NULL,
		    .root = offline ? "/mnt" : "",
		    .systemd = disk && way != INSTALL_NONE,
		    .fake = &n->spec->fake,
		},
	};
	r = host_paths_of_node(n->o.c, n->spec, err);
	if (r == 0 && disk && way == INSTALL_GUEST && !n->driver->virtual)
		r = add_identity(n, l, err);
	if (r == 0 && disk && way != INSTALL_NONE)
		add_hosts(n, l);
	if (r == 0)
		r = tls_add_files(n, l, err);
	if (r < 0) {
		setup_done(l);
		return r;
	}
	add_files(n, l);
	n->had_files |= n->spec->n_files || n->spec->tls.present;
	if (!offline)
		add_runs(n, l);
	if (l->slice.systemd)
		add_services(n, l);
	return 0;
}

void setup_done(struct setup_list *l)
{
	free(l->files);
	free(l->runs);
	free(l->services);
	for (size_t i = 0; i < l->n_texts; i++)
		free(l->texts[i]);
	free(l->texts);
	buf_done(&l->hosts);
	*l = (struct setup_list){0};
}

bool node_has_setup(const struct node *n, enum setup_part part, bool offline)
{
	const struct node_spec *s = n->spec;
	bool disk = offline || node_runs_disk(n);

	switch (part) {
	case SETUP_FILES:
		return s->n_files || s->tls.present || n->had_files ||
		       (disk && s->install.present);
	case SETUP_RUN:
		return !offline && s->n_runs;
	case SETUP_SERVICES:
		/* Also without any: those that left the spec go. */
		return disk && s->install.present;
	case SETUP_PARTS:
		break;
	}
	return false;
}

/* --- what is due --- */

/* A file that the spec refers to changed: so did the spec. */
static void on_source(const char *path, void *userdata)
{
	struct node *n = userdata;
	enum stage at = n->tried.failed_stage;

	event(&n->o, "source", NULL, NULL, NULL, "%s changed", path);
	if (n->tried.failed && (at == STAGE_INSTALL || at == STAGE_CONFIGURE ||
				   at == STAGE_RUN || at == STAGE_SERVICES))
		history_clear_failure(n);
	node_setup_due(n);
	node_refresh(n);
	mark_dirty(&n->o);
}

void node_watch_sources(struct node *n)
{
	const struct node_spec *s = n->spec;

	watch_clear(&n->watches);
	for (size_t i = 0; i < s->n_files + s->n_services; i++) {
		const char *source = i < s->n_files
					 ? s->files[i].source
					 : s->services[i - s->n_files].source;
		_cleanup_free_ char *path = host_path(n->o.c, source);

		watch_add(&n->watches, n->o.c, path, on_source, n);
	}
}

void node_drift_drop(struct node *n)
{
	free(TAKE_PTR(n->drift));
	n->n_drift = 0;
}

void node_setup_due(struct node *n)
{
	n->periodic = false; /* more than a look */
	n->due++;
	/* What failed is tried with what there is now. */
	node_doubt_drop(n);
	for (int i = 0; i < SETUP_PARTS; i++) {
		n->parts[i] = UNKNOWN;
		n->offline[i] = UNKNOWN;
	}
}

/* Looked at, and put right, beside what is up. */
void node_look_again(struct node *n)
{
	n->again++;
	node_setup_due(n);
	if (n->guest_right == YES)
		n->guest_right = NO;
	if (n->disk_look)
		n->disk_look->content = DISK_UNKNOWN;
}

void node_look_soon(struct node *n)
{
	for (int i = 0; i < SETUP_PARTS; i++)
		n->setup_look |= node_has_setup(n, i, false);
	if (n->driver->virtual && !n->setup_look)
		return; /* there is nothing to see */
	n->periodic = true;
	mark_dirty(&n->o);
}

void node_setup_forget(struct node *n)
{
	node_setup_due(n);
	n->setup_look = n->had_files = false;
	n->copied = UNKNOWN;
	if (n->n_drift && !n->o.gone)
		touch(&n->o.c->o, ASPECT_DRIFT | ASPECT_PLAN);
	node_drift_drop(n);
}
