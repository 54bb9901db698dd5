// SPDX-License-Identifier: Apache-2.0
/*
 * `metrics.prom`: numbers in the text format of Prometheus.  Lines of a family
 * must stand together, so each gathers its own while the objects are gone
 * through once.  Times are points in time, never ages.  Numbers of the daemon
 * itself change with each read: they are as wide always, so that the size is
 * true, and no change of the file.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "fs/files.h"
#include "fs/text.h"

/* A new metric takes a line here, and a sample() where its object is gone
 * through below. */
enum family {
	NODES,
	SETTLED,
	EVENTS,
	NODE_STATE,
	NODE_SINCE,
	NODE_BOOTS,
	NODE_RESTARTS,
	STAGE_SECONDS,
	STAGE_ATTEMPTS,
	NETWORK_STATE,
	PORT_IN_FRAMES,
	PORT_IN_BYTES,
	PORT_OUT_FRAMES,
	PORT_OUT_BYTES,
	REACH_LOSS,
	REACH_ROUND_TRIP,
	REACH_MEASURED,
	IMAGE_STATE,
	CHECKS,
	CHECK_PASSES,
	NODE_DRIFT,
	NODE_CERTIFICATE,
	CLIENT_CERTIFICATE,
	DAEMON_START,
	DAEMON_CPU,
	DAEMON_RESIDENT,
	DAEMON_VIRTUAL,
	FAMILIES
};

static const struct {
	const char *name, *type, *help;
} families[FAMILIES] = {
    [NODES] = {"rackfs_nodes", "gauge", "Nodes in each state."},
    [SETTLED] = {"rackfs_settled", "gauge",
	"1 when there is nothing to do and nothing is awaited."},
    [EVENTS] = {"rackfs_events_total", "counter",
	"Sequence number of the last event."},
    [NODE_STATE] = {"rackfs_node_state", "gauge",
	"1 for the state that the node is in."},
    [NODE_SINCE] = {"rackfs_node_state_start_time_seconds", "gauge",
	"When the node came into its state, since the epoch."},
    [NODE_BOOTS] = {"rackfs_node_boots_total", "counter",
	"Times the machine was started."},
    [NODE_RESTARTS] = {"rackfs_node_restarts", "gauge",
	"Restarts after a crash since the node was last up."},
    [STAGE_SECONDS] = {"rackfs_node_stage_duration_seconds", "gauge",
	"What a stage of the way up took, once it has ended."},
    [STAGE_ATTEMPTS] = {"rackfs_node_stage_attempts", "gauge",
	"Times the stage was begun on this way up."},
    [NETWORK_STATE] = {"rackfs_network_state", "gauge",
	"1 for the state that the network is in."},
    [PORT_IN_FRAMES] = {"rackfs_port_in_frames_total", "counter",
	"Frames that the port of the switch took in."},
    [PORT_IN_BYTES] = {"rackfs_port_in_bytes_total", "counter",
	"Bytes that the port of the switch took in."},
    [PORT_OUT_FRAMES] = {"rackfs_port_out_frames_total", "counter",
	"Frames that the port of the switch gave out."},
    [PORT_OUT_BYTES] = {"rackfs_port_out_bytes_total", "counter",
	"Bytes that the port of the switch gave out."},
    [REACH_LOSS] = {"rackfs_reach_loss_ratio", "gauge",
	"Part of the pings from one node to another that was lost."},
    [REACH_ROUND_TRIP] = {"rackfs_reach_round_trip_seconds", "gauge",
	"Average round trip from one node to another."},
    [REACH_MEASURED] = {"rackfs_reach_measured_time_seconds", "gauge",
	"When that was measured, since the epoch."},
    [IMAGE_STATE] = {"rackfs_image_state", "gauge",
	"1 for the state that the image is in."},
    [CHECKS] = {"rackfs_checks", "gauge", "Checks that give each result."},
    [CHECK_PASSES] = {"rackfs_check_pass", "gauge",
	"1 for a check that passes, 0 for one that fails; one that waits has "
	"none."},
    [NODE_DRIFT] = {"rackfs_node_drift", "gauge",
	"Keys of the spec that differed when they were last looked at."},
    [NODE_CERTIFICATE] = {"rackfs_node_certificate_end_time_seconds", "gauge",
	"When the node's certificate runs out, since the epoch."},
    [CLIENT_CERTIFICATE] = {"rackfs_client_certificate_end_time_seconds",
	"gauge", "When the operator's certificate runs out, since the epoch."},
    [DAEMON_START] = {"process_start_time_seconds", "gauge",
	"Start of the daemon, since the epoch."},
    [DAEMON_CPU] = {"process_cpu_seconds_total", "counter",
	"User and system CPU time of the daemon."},
    [DAEMON_RESIDENT] = {"process_resident_memory_bytes", "gauge",
	"Resident memory of the daemon."},
    [DAEMON_VIRTUAL] = {"process_virtual_memory_bytes", "gauge",
	"Virtual memory of the daemon."},
};

struct metrics {
	struct buf lines[FAMILIES];
	uint64_t checks[CHECK_FAIL + 1]; /* by state */
	const char *network;             /* that is gone through */
};

/* Names need no escapes in labels. */
static void sample(struct metrics *m, enum family f, const char *value,
    const char *labels_fmt, ...) PRINTF(4, 5);
static void sample(struct metrics *m, enum family f, const char *value,
    const char *labels_fmt, ...)
{
	struct buf *b = &m->lines[f];
	va_list ap;

	buf_printf(b, "%s{", families[f].name);
	va_start(ap, labels_fmt);
	buf_vprintf(b, labels_fmt, ap);
	va_end(ap);
	buf_printf(b, "} %s\n", value);
}

static void bare(struct metrics *m, enum family f, const char *value)
{
	buf_printf(&m->lines[f], "%s %s\n", families[f].name, value);
}

struct number {
	char text[32];
};

static struct number integer(uint64_t n)
{
	struct number x;

	snprintf(x.text, sizeof(x.text), "%" PRIu64, n);
	return x;
}

static struct number seconds(uint64_t usec)
{
	struct number x;

	snprintf(x.text, sizeof(x.text), "%llu.%06llu", usec / USEC_PER_SEC,
	    usec % USEC_PER_SEC);
	return x;
}

/* Always as wide. */
static struct number wide(double n)
{
	struct number x;

	snprintf(x.text, sizeof(x.text), "%.9e", n);
	return x;
}

/* --- nodes --- */

static void stages(struct metrics *m, const struct node_view *v)
{
	for (size_t i = 0; i < v->n_stages; i++) {
		const struct stage_view *s = &v->stages[i];
		const char *stage = stage_name(s->stage);

		if (!s->started)
			continue;
		sample(m, STAGE_ATTEMPTS, integer(s->attempts).text,
		    "node=\"%s\",stage=\"%s\"", v->name, stage);
		if (s->ended < s->started)
			continue;
		sample(m, STAGE_SECONDS, seconds(s->ended - s->started).text,
		    "node=\"%s\",stage=\"%s\"", v->name, stage);
	}
}

static void drift(struct metrics *m, struct object *o)
{
	struct drift_view d;
	uint64_t seen, n = 0;

	while (node_drift(o, n, &d, &seen))
		n++;
	if (seen)
		sample(m, NODE_DRIFT, integer(n).text, "node=\"%s\"",
		    object_name(o));
}

static void node(struct metrics *m, const struct render *r, struct object *o)
{
	struct node_view v;

	node_view(o, &v);
	sample(m, NODE_STATE, "1", "node=\"%s\",state=\"%s\"", v.name,
	    node_state_name(v.state));
	if (v.since)
		sample(m, NODE_SINCE,
		    seconds(text_real(r->clock, v.since)).text, "node=\"%s\"",
		    v.name);
	sample(m, NODE_BOOTS, integer(v.machine.launch).text, "node=\"%s\"",
	    v.name);
	sample(
	    m, NODE_RESTARTS, integer(v.restarts).text, "node=\"%s\"", v.name);
	stages(m, &v);
	drift(m, o);
	if (v.certificate_end)
		sample(m, NODE_CERTIFICATE, seconds(v.certificate_end).text,
		    "node=\"%s\"", v.name);
}

static void check(const struct check_view *v, void *metrics)
{
	struct metrics *m = metrics;

	m->checks[v->state]++;
	if (v->state == CHECK_WAITING)
		return;
	sample(m, CHECK_PASSES, v->state == CHECK_PASS ? "1" : "0",
	    "name=\"%s\",node=\"%s\"", v->name, v->node ? v->node : "");
}

/* --- networks --- */

static void port(
    struct metrics *m, const char *network, const struct network_port *p)
{
	static const char labels[] = "network=\"%s\",port=\"%u\",node=\"%s\"";
	const struct {
		enum family family;
		uint64_t value;
	} counters[] = {
	    {PORT_IN_FRAMES, p->frames_in},
	    {PORT_IN_BYTES, p->bytes_in},
	    {PORT_OUT_FRAMES, p->frames_out},
	    {PORT_OUT_BYTES, p->bytes_out},
	};

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		sample(m, counters[i].family, integer(counters[i].value).text,
		    labels, network, p->port, p->node);
}

static void pair(const struct reach_view *v, void *metrics)
{
	static const char labels[] = "network=\"%s\",from=\"%s\",to=\"%s\"";
	struct metrics *m = metrics;
	struct number x;

	if (v->sent == 0)
		return;
	snprintf(x.text, sizeof(x.text), "%.3f",
	    1 - (double)MIN(v->received, v->sent) / v->sent);
	sample(m, REACH_LOSS, x.text, labels, m->network, v->from, v->to);
	if (v->received > 0 && v->rtt_ms >= 0) {
		snprintf(x.text, sizeof(x.text), "%.6f", v->rtt_ms / 1000);
		sample(m, REACH_ROUND_TRIP, x.text, labels, m->network, v->from,
		    v->to);
	}
	if (v->measured)
		sample(m, REACH_MEASURED, seconds(v->measured).text, labels,
		    m->network, v->from, v->to);
}

static void network(struct metrics *m, const struct render *r, struct object *o)
{
	struct network_view v;

	network_view(o, &v);
	sample(m, NETWORK_STATE, "1", "network=\"%s\",state=\"%s\"", v.name,
	    network_state_name(v.state));
	for (size_t i = 0; i < v.n_ports; i++)
		port(m, v.name, &v.ports[i]);
	m->network = v.name;
	network_each_reach(o, pair, m);
}

static void image(struct metrics *m, const struct render *r, struct object *o)
{
	struct image_view v;

	image_view(o, &v);
	sample(m, IMAGE_STATE, "1", "image=\"%s\",state=\"%s\"", v.name,
	    image_state_name(v.state));
}

/* --- the cluster and its daemon --- */

static void whole(struct metrics *m, struct cluster *c)
{
	struct cluster_view v;

	cluster_view(c, &v);
	for (int s = 0; s < NODE_STATES; s++)
		sample(m, NODES, integer(v.counts[s]).text, "state=\"%s\"",
		    node_state_name(s));
	bare(m, SETTLED, v.settled ? "1" : "0");
	bare(m, EVENTS, integer(v.seq).text);
	cluster_checks(c, check, m);
	for (int s = 0; s <= CHECK_FAIL; s++)
		sample(m, CHECKS, integer(m->checks[s]).text, "state=\"%s\"",
		    check_state_name((enum check_state)s));
	if (v.certificate_end)
		bare(m, CLIENT_CERTIFICATE, seconds(v.certificate_end).text);
}

/* As proc(5) has it: pages and clock ticks. */
static void daemon_itself(struct metrics *m, uint64_t started)
{
	_cleanup_buf_ struct buf statm = {0}, stat = {0};
	unsigned long size = 0, resident = 0, user = 0, system = 0;
	double page = (double)sysconf(_SC_PAGESIZE);
	double tick = (double)sysconf(_SC_CLK_TCK);
	const char *after;

	bare(m, DAEMON_START, wide((double)started / USEC_PER_SEC).text);
	if (file_read(-1, "/proc/self/statm", 4096, &statm) == 0 &&
	    sscanf(buf_str(&statm), "%lu %lu", &size, &resident) == 2) {
		bare(m, DAEMON_VIRTUAL, wide((double)size * page).text);
		bare(m, DAEMON_RESIDENT, wide((double)resident * page).text);
	}
	if (file_read(-1, "/proc/self/stat", 4096, &stat) < 0)
		return;
	after = strrchr(buf_str(&stat), ')'); /* its name may hold any byte */
	if (after && sscanf(after + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			 &user, &system) == 2)
		bare(m, DAEMON_CPU, wide((double)(user + system) / tick).text);
}

/* --- */

static void print(struct metrics *m, struct buf *ret)
{
	for (int f = 0; f < FAMILIES; f++) {
		struct buf *b = &m->lines[f];

		if (b->len) {
			buf_printf(ret, "# HELP %s %s\n# TYPE %s %s\n",
			    families[f].name, families[f].help,
			    families[f].name, families[f].type);
			buf_append(ret, b->data, b->len);
		}
		buf_done(b);
	}
}

void render_metrics(const struct render *r, struct buf *ret)
{
	static void (*const each[OBJECT_KINDS])(
	    struct metrics * m, const struct render *r, struct object *o) = {
	    [OBJECT_NETWORK] = network,
	    [OBJECT_IMAGE] = image,
	    [OBJECT_NODE] = node,
	};
	struct metrics m = {0};

	whole(&m, r->cluster);
	for (int kind = 0; kind < OBJECT_KINDS; kind++) {
		struct object *o = NULL;

		while (each[kind] && (o = cluster_next(r->cluster, kind,
					  o ? object_number(o) : 0)))
			each[kind](&m, r, o);
	}
	daemon_itself(&m, r->started);
	print(&m, ret);
}
