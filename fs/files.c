// SPDX-License-Identifier: Apache-2.0
/*
 * The table of every path.  Lookup, listing, permissions, sizes, what wakes
 * whom, the tree's README, docs/FILES.md and the man page come from these rows;
 * no other file knows one by name.
 */
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include "fs/files.h"

#define DOCUMENT_WRITES                                                        \
	"`>` replaces the document; `>>` patches it (RFC 7396); in force "     \
	"at close or fsync"
#define DOCUMENT_ERRORS                                                        \
	"EINVAL: not JSON, an unknown key, a value out of range, or cut off "  \
	"at close; ENOENT: it names what does not exist; EEXIST: an "          \
	"address, MAC or port is taken; EFBIG: over 1 MiB; ENOSPC: a range "   \
	"or the disk is full"
#define VERB_ERRORS                                                            \
	"EINVAL: no such verb; EBUSY: not while it runs or is used; "          \
	"ENOTEMPTY: the disk holds data"

#define STATUS_ASPECTS (ASPECT_STATUS | ASPECT_CHECKS | ASPECT_PLAN)

#define DIRECTORY(slot_, place_, name_, leads_, help_)                         \
	{                                                                      \
		.slot = (slot_), .place = (place_), .name = (name_),           \
		.mode = 0755, .kind = FILE_DIRECTORY, .leads = (leads_),       \
		.help = (help_)                                                \
	}
#define EACH(slot_, place_, each_, leads_, help_)                              \
	{                                                                      \
		.slot = (slot_), .place = (place_), .each = (each_),           \
		.mode = 0755, .kind = FILE_DIRECTORY, .leads = (leads_),       \
		.help = (help_)                                                \
	}
#define TEXT(slot_, place_, name_, aspects_, render_, help_)                   \
	{                                                                      \
		.slot = (slot_), .place = (place_), .name = (name_),           \
		.mode = 0444, .kind = FILE_TEXT, .aspects = (aspects_),        \
		.render = (render_), .help = (help_)                           \
	}
#define DOCUMENT(slot_, place_, name_, document_, aspects_, help_)             \
	{                                                                      \
		.slot = (slot_), .place = (place_), .name = (name_),           \
		.mode = 0600, .kind = FILE_DOCUMENT, .aspects = (aspects_),    \
		.document = (document_), .help = (help_),                      \
		.writes = DOCUMENT_WRITES, .errors = DOCUMENT_ERRORS           \
	}
#define STATE(slot_, place_, help_, verbs_)                                    \
	{                                                                      \
		.slot = (slot_), .place = (place_), .name = "state",           \
		.mode = 0644, .kind = FILE_TEXT, .aspects = ASPECT_STATE,      \
		.render = render_state, .write = write_state, .help = (help_), \
		.writes = "one verb a write: " verbs_, .errors = VERB_ERRORS   \
	}
#define STREAM(slot_, place_, name_, aspects_, stream_, help_)                 \
	{                                                                      \
		.slot = (slot_), .place = (place_), .name = (name_),           \
		.mode = 0444, .kind = FILE_STREAM, .aspects = (aspects_),      \
		.stream = (stream_), .help = (help_)                           \
	}

/* Slots are for ever: a new row takes a new one. 128 and above are kept for
 * files that are not in this table. */
const struct file files[] = {
    DIRECTORY(0, PLACE_ROOT, NULL, PLACE_ROOT, "the cluster"),
    TEXT(1, PLACE_ROOT, "README", 0, render_readme, "this page"),
    DOCUMENT(2, PLACE_ROOT, "spec", DOCUMENT_SPEC, ASPECT_SPEC,
	"what is wanted of the whole cluster (JSON): name, domain, keys, "
	"defaults of nodes"),
    STATE(3, PLACE_ROOT, "one word: up, converging, failed or down",
	"up, down, off, reboot: for every node"),
    TEXT(4, PLACE_ROOT, "status", STATUS_ASPECTS, render_status,
	"a line for each node, for people; then one that begins with "
	"`cluster:` for all of them"),
    TEXT(5, PLACE_ROOT, "status.json",
	STATUS_ASPECTS | ASPECT_TLS | ASPECT_ERROR | ASPECT_SPEC,
	render_cluster_status_json, "the same for programs"),
    STREAM(6, PLACE_ROOT, "events", ASPECT_EVENTS, STREAM_EVENTS,
	"what has changed: a line of JSON each, numbered; follow it with "
	"tail -f"),
    TEXT(7, PLACE_ROOT, "error", ASPECT_ERROR, render_error,
	"the last refusal here (also of a mkdir or rmdir); empty: none"),
    TEXT(33, PLACE_ROOT, "checks", ASPECT_CHECKS, render_checks,
	"a line for each check and service: name, pass, fail or waiting, "
	"since when, detail"),
    TEXT(34, PLACE_ROOT, "plan", ASPECT_PLAN, render_plan,
	"what would be done next, by node, and why; empty: there is nothing "
	"to do"),
    TEXT(35, PLACE_ROOT, "drift", ASPECT_DRIFT, render_drift,
	"what differed from the specs when it was last looked at: node, key, "
	"when, how; empty: nothing"),
    TEXT(8, PLACE_ROOT, "ssh_config", ASPECT_NAMES, render_ssh_config,
	"ssh -F with this file reaches every node by its name"),
    TEXT(9, PLACE_ROOT, "known_hosts", ASPECT_NAMES, render_known_hosts,
	"host keys of the nodes, known before first contact"),
    TEXT(10, PLACE_ROOT, "hosts", ASPECT_NAMES, render_hosts,
	"addresses of the nodes as lines for /etc/hosts"),
    TEXT(24, PLACE_ROOT, "inventory.json", ASPECT_LINKS | ASPECT_NAMES,
	render_inventory, "the nodes for Ansible: ansible -i with this file"),
    {.slot = 25,
	.place = PLACE_ROOT,
	.name = "metrics.prom",
	.mode = 0444,
	.kind = FILE_TEXT,
	.aspects = ASPECT_OBSERVED | ASPECT_PROGRESS | ASPECT_PORTS |
		   ASPECT_REACH | ASPECT_STATUS | ASPECT_EVENTS |
		   ASPECT_CHECKS | ASPECT_TLS,
	.render = render_metrics,
	.touch = network_touch_ports,
	.timed = true,
	.help = "numbers in the text format of Prometheus"},
    TEXT(26, PLACE_ROOT, "topology.svg", ASPECT_LINKS, render_topology,
	"a drawing of nodes, networks, addresses and links"),
    TEXT(27, PLACE_ROOT, "timeline.svg", ASPECT_PROGRESS | ASPECT_LINKS,
	render_timeline,
	"a drawing of what each node spent its time on, by stages"),
    TEXT(36, PLACE_ROOT, "ca.crt", ASPECT_TLS, render_ca,
	"the certificate authority of the cluster (PEM); empty while no node "
	"asks for tls"),
    {.slot = 37,
	.place = PLACE_ROOT,
	.name = "client",
	.mode = 0700,
	.kind = FILE_DIRECTORY,
	.leads = PLACE_CLIENT,
	.help = "what the operator's programs show to the nodes"},
    DIRECTORY(11, PLACE_ROOT, "wait", PLACE_WAIT, "files that wait"),
    DIRECTORY(12, PLACE_ROOT, "networks", PLACE_NETWORKS,
	"mkdir makes a network, rmdir removes it"),
    DIRECTORY(13, PLACE_ROOT, "images", PLACE_IMAGES,
	"mkdir makes an image, rmdir removes it"),
    DIRECTORY(14, PLACE_ROOT, "nodes", PLACE_NODES,
	"mkdir makes a node, rmdir removes it"),

    {.slot = 15,
	.place = PLACE_WAIT,
	.name = "all",
	.mode = 0444,
	.kind = FILE_WAIT,
	.aspects = ASPECT_SETTLED | ASPECT_STATE,
	.help = "a read blocks until everything has settled and gives the "
		"word of `state`",
	.errors = "EIO: a node failed; EINTR; EAGAIN with O_NONBLOCK"},
    {.slot = 32,
	.place = PLACE_WAIT,
	.each = OBJECT_NODE,
	.mode = 0444,
	.kind = FILE_WAIT,
	.aspects = ASPECT_SETTLED | ASPECT_STATE,
	.help = "a read blocks until this node has settled and gives its "
		"state word",
	.errors = "EIO: it failed; EINTR; EAGAIN with O_NONBLOCK; ENODEV: "
		  "it was removed"},

    TEXT(38, PLACE_CLIENT, "cert.pem", ASPECT_TLS, render_client_certificate,
	"the operator's certificate, by that authority"),
    {.slot = 39,
	.place = PLACE_CLIENT,
	.name = "key.pem",
	.mode = 0400,
	.kind = FILE_TEXT,
	.aspects = ASPECT_TLS,
	.render = render_client_key,
	.help = "its private key"},

    EACH(0, PLACE_NETWORKS, OBJECT_NETWORK, PLACE_NETWORK,
	"an L2 network: one switch"),
    DOCUMENT(1, PLACE_NETWORK, "spec", DOCUMENT_SPEC, ASPECT_SPEC,
	"what is wanted of it (JSON): subnet, hub, mtu"),
    STATE(2, PLACE_NETWORK, "one word: down, starting, up or failed",
	"check (measure `reach` again)"),
    {.slot = 3,
	.place = PLACE_NETWORK,
	.name = "ports",
	.mode = 0444,
	.kind = FILE_TEXT,
	.aspects = ASPECT_PORTS,
	.render = render_ports,
	.touch = network_touch_ports,
	.help = "what is plugged where: port, node, MAC, frames and bytes"},
    TEXT(4, PLACE_NETWORK, "reach", ASPECT_REACH, render_reach,
	"who reaches whom: loss and round trip, measured from inside the "
	"nodes"),
    TEXT(5, PLACE_NETWORK, "error", ASPECT_ERROR, render_error,
	"why it failed, what was refused; empty: nothing"),
    STREAM(6, PLACE_NETWORK, "log", ASPECT_LOG, STREAM_LOG,
	"what was done for it"),

    EACH(0, PLACE_IMAGES, OBJECT_IMAGE, PLACE_IMAGE,
	"what nodes boot or install"),
    DOCUMENT(1, PLACE_IMAGE, "spec", DOCUMENT_SPEC, ASPECT_SPEC,
	"what it is made from (JSON)"),
    TEXT(2, PLACE_IMAGE, "state", ASPECT_STATE, render_state,
	"one word: missing, building, ready or failed"),
    TEXT(3, PLACE_IMAGE, "error", ASPECT_ERROR, render_error,
	"why it failed, what was refused; empty: nothing"),
    STREAM(
	4, PLACE_IMAGE, "log", ASPECT_LOG, STREAM_LOG, "what was done for it"),

    EACH(0, PLACE_NODES, OBJECT_NODE, PLACE_NODE, "a machine"),
    DOCUMENT(1, PLACE_NODE, "spec", DOCUMENT_SPEC, ASPECT_SPEC,
	"what is wanted of the machine (JSON)"),
    STATE(2, PLACE_NODE,
	"one word: down, starting, booting, partitioning, installing, "
	"configuring, up, stopping or failed",
	"up, down, off, reboot, reset, wipe"),
    {.slot = 3,
	.place = PLACE_NODE,
	.name = "console",
	.mode = 0600,
	.kind = FILE_CONSOLE,
	.aspects = ASPECT_CONSOLE,
	.stream = STREAM_CONSOLE,
	.help = "serial console: what was printed since the last start; opened "
		"for reading and writing: a terminal",
	.writes = "types",
	.errors = "ENODEV: no machine runs; EINTR; EAGAIN with O_NONBLOCK"},
    DOCUMENT(4, PLACE_NODE, "disk", DOCUMENT_DISK, ASPECT_DISK | ASPECT_SPEC,
	"the section \"disk\" of the spec; null: none"),
    {.slot = 5,
	.place = PLACE_NODE,
	.name = "progress",
	.mode = 0444,
	.kind = FILE_TEXT,
	.aspects = ASPECT_PROGRESS | ASPECT_SPEC, /* has its stages */
	.render = render_progress,
	.timed = true,
	.help = "a line for each stage: name, state, seconds, percent, detail"},
    TEXT(6, PLACE_NODE, "status.json",
	ASPECT_OBSERVED | ASPECT_STATE | ASPECT_PROGRESS | ASPECT_ERROR |
	    ASPECT_SPEC | ASPECT_SETTLED,
	render_node_status_json,
	"everything observed, every default filled in"),
    TEXT(7, PLACE_NODE, "error", ASPECT_ERROR, render_error,
	"why it failed, what was refused; empty: nothing"),
    STREAM(8, PLACE_NODE, "log", ASPECT_LOG, STREAM_LOG,
	"every command run for it and what it answered"),
};
const size_t n_files = ARRAY_SIZE(files);

static const enum object_kind owners[] = {
    [PLACE_ROOT] = OBJECT_CLUSTER,
    [PLACE_WAIT] = OBJECT_CLUSTER,
    [PLACE_CLIENT] = OBJECT_CLUSTER,
    [PLACE_NETWORKS] = OBJECT_CLUSTER,
    [PLACE_IMAGES] = OBJECT_CLUSTER,
    [PLACE_NODES] = OBJECT_CLUSTER,
    [PLACE_NETWORK] = OBJECT_NETWORK,
    [PLACE_IMAGE] = OBJECT_IMAGE,
    [PLACE_NODE] = OBJECT_NODE,
};
static_assert(ARRAY_SIZE(owners) == PLACES, "each place has an owner");

enum object_kind file_owner(const struct file *f)
{
	return !f->name && f->each != OBJECT_CLUSTER ? f->each
						     : owners[f->place];
}

static bool is_root(const struct file *f)
{
	return f->kind == FILE_DIRECTORY && f->leads == PLACE_ROOT;
}

const struct file *file_by_slot(enum object_kind owner, unsigned slot)
{
	for (size_t i = 0; i < n_files; i++) {
		if (files[i].slot == slot && file_owner(&files[i]) == owner)
			return &files[i];
	}
	return NULL;
}

const struct file *file_by_name(enum place place, const char *name)
{
	for (size_t i = 0; i < n_files; i++) {
		if (files[i].place == place && files[i].name &&
		    STREQ(files[i].name, name))
			return &files[i];
	}
	return NULL;
}

const struct file *file_each(enum place place)
{
	for (size_t i = 0; i < n_files; i++) {
		if (files[i].place == place && !files[i].name &&
		    !is_root(&files[i]))
			return &files[i];
	}
	return NULL;
}

const struct file *file_of_place(enum place place)
{
	for (size_t i = 0; i < n_files; i++) {
		if (files[i].kind == FILE_DIRECTORY && files[i].leads == place)
			return &files[i];
	}
	return NULL;
}

bool place_takes_scratch(enum place place)
{
	for (size_t i = 0; i < n_files; i++) {
		if (files[i].place == place && files[i].kind == FILE_DOCUMENT)
			return true;
	}
	return false;
}

bool file_may_go(const struct file *f)
{
	return f->kind == FILE_DOCUMENT && f->document == DOCUMENT_SPEC;
}

void file_path(const struct file *f, struct buf *ret)
{
	if (is_root(f))
		return;
	if (f->place != PLACE_ROOT) {
		file_path(file_of_place(f->place), ret);
		buf_putc(ret, '/');
	}
	if (f->name)
		buf_puts(ret, f->name);
	else
		buf_printf(ret, "<%s>", object_kind_name(f->each));
}

bool file_writable(const struct file *f)
{
	return f->write || f->kind == FILE_DOCUMENT || f->kind == FILE_CONSOLE;
}

/* How a kind of file tells that it has changed. */
static const struct {
	uint32_t inotify;
	unsigned poll;
} tells[] = {
    /* As when a program writes the whole of it anew. */
    [FILE_TEXT] = {IN_MODIFY | IN_CLOSE_WRITE,
	POLLIN | POLLRDNORM | POLLPRI | POLLERR},
    [FILE_DOCUMENT] = {IN_MODIFY | IN_CLOSE_WRITE,
	POLLIN | POLLRDNORM | POLLPRI | POLLERR},
    /* As when a program appends, and keeps it open. */
    [FILE_STREAM] = {IN_MODIFY, POLLIN | POLLRDNORM},
    [FILE_CONSOLE] = {IN_MODIFY, POLLIN | POLLRDNORM},
    [FILE_WAIT] = {0, POLLIN | POLLRDNORM},
    [FILE_SCRATCH] = {0, POLLIN | POLLRDNORM},
};
static_assert(ARRAY_SIZE(tells) == FILE_KINDS, "each kind of file");

uint32_t file_inotify(const struct file *f)
{
	if (f->kind == FILE_DIRECTORY)
		return file_each(f->leads) ? IN_CREATE | IN_DELETE : 0;
	return f->aspects ? tells[f->kind].inotify : 0;
}

unsigned file_poll(const struct file *f)
{
	unsigned bits = tells[f->kind].poll;

	if (!f->aspects)
		bits &= ~(unsigned)(POLLPRI | POLLERR);
	if (file_writable(f))
		bits |= POLLOUT | POLLWRNORM;
	return bits;
}

static bool row_is_right(const struct file *f)
{
	bool text = f->kind == FILE_TEXT;

	if (file_by_slot(file_owner(f), f->slot) != f || f->slot >= 128)
		return false; /* the slot is taken */
	if (f->name && file_by_name(f->place, f->name) != f)
		return false;
	if (text != (f->render != NULL) || (f->write && !text) || !f->help)
		return false;
	if (file_writable(f) != (f->writes != NULL))
		return false;
	if (f->kind == FILE_DIRECTORY)
		return file_of_place(f->leads) == f;
	return !(f->mode & ~0644) && file_writable(f) == !!(f->mode & 0200);
}

ssize_t files_check(void)
{
	for (size_t i = 0; i < n_files; i++) {
		if (!row_is_right(&files[i]))
			return (ssize_t)i;
	}
	return -1;
}
