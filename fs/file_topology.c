// SPDX-License-Identifier: Apache-2.0
/*
 * `topology.svg`: networks are bars across the top; nodes are boxes in blocks
 * below.  In each block a line comes down from the bar of each network that is
 * used there, and each NIC has a line of its own from its node to that of its
 * network, with its address above.  So no label ever meets another one.
 */
#include <stdio.h>
#include "fs/topology.h"

#define BAR        24
#define BAR_GAP    10
#define BOX_GAP    12
#define NAME_MIN   110
#define NAME_MAX_X 260 /* pixels for a node's name */
#define LABEL_MAX  230
#define LINE_GAP   16 /* from one network's line to the next */

static const struct svg_font title_font = {.size = 18, .bold = true};
static const struct svg_font bar_font = {.size = 12, .bold = true};
static const struct svg_font name_font = {.size = 13, .bold = true};
static const struct svg_font small = {.size = 11, .colour = SVG_MUTED};
static const struct svg_font label_font = {.size = 11};

int topology_network(const struct topology *t, const char *name)
{
	for (size_t i = 0; i < t->n_networks; i++) {
		if (STREQ(t->networks[i].name, name))
			return (int)i;
	}
	return -1;
}

/* --- blocks and links --- */

unsigned topology_begin_block(struct topology *t, unsigned x, uint32_t used)
{
	for (size_t i = 0; i < t->n_networks; i++) {
		t->networks[i].x = used & 1u << i ? x : 0;
		t->networks[i].last = 0;
		if (used & 1u << i)
			x += LINE_GAP;
	}
	svg_reach(&t->svg, x, 0);
	return x;
}

void topology_end_block(struct topology *t)
{
	for (size_t i = 0; i < t->n_networks; i++) {
		const struct drawn_network *n = &t->networks[i];

		if (!n->last)
			continue;
		buf_printf(&t->behind,
		    "<path d='M%u %uV%u' stroke='%s' stroke-width='3'/>\n",
		    n->x, n->bar, n->last, n->colour);
	}
}

void topology_link(
    struct topology *t, unsigned x, unsigned y, const struct topology_link *l)
{
	int at = topology_network(t, l->network);
	struct drawn_network *n = at < 0 ? NULL : &t->networks[at];
	unsigned width = MIN(svg_width(&label_font, l->label), LABEL_MAX);
	_cleanup_free_ char *label = svg_fit(&label_font, l->label, LABEL_MAX);
	unsigned to = n && n->x ? n->x : x + width + 16;

	svg_draw(&t->svg, "<path d='M%u %uH%u' %s/>", x, y, to, l->style);
	svg_text(&t->svg, x + 8, y - 5, &label_font, label);
	if (l->cut)
		svg_draw(&t->svg,
		    "<path d='M%u %ul8 8m0 -8l-8 8' stroke='" SVG_RED
		    "' stroke-width='2'/>",
		    to - 16, y - 4);
	if (!n || !n->x)
		return;
	n->last = MAX(n->last, y);
	svg_draw(&t->svg, "<circle cx='%u' cy='%u' r='4' fill='%s'/>", to, y,
	    l->cut ? "#ffffff" : n->colour);
	if (l->cut)
		svg_draw(&t->svg,
		    "<circle cx='%u' cy='%u' r='4' fill='none' "
		    "stroke='" SVG_RED "'/>",
		    to, y);
}

/* --- nodes --- */

static unsigned box_height(const struct node_view *v)
{
	return MAX(42, 20 + LINK_PITCH * (unsigned)v->n_nics);
}

static char *label_of(const struct nic_view *n, bool drawn)
{
	_cleanup_buf_ struct buf b = {0};
	char ip[16];

	buf_puts(&b, n->spec->name);
	if (!drawn)
		buf_printf(&b, " on %s", n->network);
	if (n->has_address) {
		format_ip(n->address, ip);
		buf_printf(&b, " %s/%u", ip, n->prefix);
	}
	return buf_take(&b);
}

static void draw_nic(
    struct topology *t, const struct nic_view *n, unsigned x, unsigned y)
{
	_cleanup_free_ char *label =
	    label_of(n, topology_network(t, n->network) >= 0);
	struct topology_link l = {.network = n->network,
	    .label = label,
	    .style = "stroke='" SVG_INK "' stroke-width='1.5'"};

	if (n->spec->link == LINK_DOWN) {
		l.cut = true;
		l.style = "stroke='" SVG_RED "' stroke-dasharray='5 3'";
	} else if (!n->plugged) {
		l.style = "stroke='#9aa5b1' stroke-dasharray='2 3'";
	}
	topology_link(t, x, y, &l);
}

static void draw_node(struct topology *t, const struct node_view *v, unsigned x,
    unsigned y, unsigned width)
{
	const char *colour = svg_node_colour(v->state);
	_cleanup_free_ char *name = svg_fit(&name_font, v->name, NAME_MAX_X);
	unsigned height = box_height(v);

	svg_draw(&t->svg,
	    "<rect x='%u' y='%u' width='%u' height='%u' rx='4' "
	    "fill='#f5f7f9' stroke='" SVG_LINE "'/>"
	    "<rect x='%u' y='%u' width='6' height='%u' rx='2' fill='%s'/>",
	    x, y, width, height, x, y, height, colour);
	svg_reach(&t->svg, x + width, y + height);
	svg_text(&t->svg, x + 16, y + 18, &name_font, name);
	svg_text(&t->svg, x + 16, y + 34, &small, node_state_name(v->state));
	for (size_t i = 0; i < v->n_nics; i++)
		draw_nic(t, &v->nics[i], x + width,
		    y + 26 + LINK_PITCH * (unsigned)i);
}

/* A block: boxes one below the other, as wide as all of them need. */
struct block {
	const struct node_view *nodes;
	size_t n;
};

static unsigned draw_block(
    struct topology *t, const struct block *b, unsigned x, unsigned y)
{
	unsigned name = NAME_MIN, label = 0, links, end;
	uint32_t used = 0;

	for (size_t i = 0; i < b->n; i++) {
		const struct node_view *v = &b->nodes[i];

		name = MAX(name, svg_width(&name_font, v->name));
		for (size_t k = 0; k < v->n_nics; k++) {
			int at = topology_network(t, v->nics[k].network);
			_cleanup_free_ char *text =
			    label_of(&v->nics[k], at >= 0);

			label = MAX(label, svg_width(&label_font, text));
			if (at >= 0)
				used |= 1u << at;
		}
	}
	name = MIN(name, NAME_MAX_X) + 28;
	links = x + name + MIN(label, LABEL_MAX) + 36;
	end = topology_begin_block(t, links, used);
	for (size_t i = 0; i < b->n; i++) {
		draw_node(t, &b->nodes[i], x, y, name);
		y += box_height(&b->nodes[i]) + BOX_GAP;
	}
	topology_end_block(t);
	return end;
}

/* As many blocks side by side as make the drawing about as wide as high. */
static void draw_nodes(
    struct topology *t, const struct node_view *nodes, size_t n, unsigned y)
{
	unsigned height = 0, blocks = 1, x = LEFT;

	for (size_t i = 0; i < n; i++)
		height += box_height(&nodes[i]) + BOX_GAP;
	while (height / blocks > blocks * 330)
		blocks++;
	for (size_t from = 0, to = 0; from < n; from = to) {
		unsigned sum = 0;

		while (to < n && sum < (height + blocks - 1) / blocks)
			sum += box_height(&nodes[to++]) + BOX_GAP;
		x = draw_block(
			t, &(struct block){nodes + from, to - from}, x, y) +
		    28;
	}
}

/* --- the head --- */

static unsigned legend(struct topology *t, unsigned y)
{
	struct svg_legend l = {.left = LEFT, .right = 900, .x = LEFT, .y = y};
	struct cluster_view c;

	cluster_view(t->cluster, &c);
	for (int s = 0; s < NODE_STATES; s++) {
		_cleanup_free_ char *shape = xasprintf(
		    "<rect x='5' width='6' height='14' y='-7' fill='%s'/>",
		    svg_node_colour(s));
		_cleanup_free_ char *text =
		    xasprintf("%zu %s", c.counts[s], node_state_name(s));

		if (c.counts[s])
			svg_legend_item(&t->svg, &l, shape, text);
	}
	svg_legend_item(&t->svg, &l,
	    "<path d='M0 0h16' stroke='" SVG_INK "' stroke-width='1.5'/>",
	    "plugged");
	svg_legend_item(&t->svg, &l,
	    "<path d='M0 0h16' stroke='#9aa5b1' stroke-dasharray='2 3'/>",
	    "not plugged");
	svg_legend_item(&t->svg, &l,
	    "<path d='M0 0h16' stroke='" SVG_RED
	    "' stroke-dasharray='5 3'/><path d='M4 -4l8 8m0 -8l-8 8' "
	    "stroke='" SVG_RED "' stroke-width='2'/>",
	    "link down");
	return l.y;
}

static void take_network(struct topology *t, struct object *o, unsigned y)
{
	static const char *const colours[] = {"#3f7fbf", "#c77d28", "#4f9d69",
	    "#9a5fb5", "#b8516b", "#5e8f99", "#8a7a3d", "#6a6fc2"};
	struct drawn_network *n = &t->networks[t->n_networks];

	n->name = object_name(o);
	n->colour = colours[t->n_networks % ARRAY_SIZE(colours)];
	n->bar = y + BAR / 2;
	t->n_networks++;
}

static unsigned take_networks(struct topology *t, unsigned y)
{
	size_t all = cluster_count(t->cluster, OBJECT_NETWORK);
	struct object *o = NULL;

	while (t->n_networks < NETWORKS_DRAWN &&
	       (o = cluster_next(
		    t->cluster, OBJECT_NETWORK, o ? object_number(o) : 0))) {
		take_network(t, o, y);
		y += BAR + BAR_GAP;
	}
	if (all > t->n_networks) {
		_cleanup_free_ char *more =
		    xasprintf("and %zu more networks", all - t->n_networks);

		svg_text(&t->svg, LEFT, y + 14, &small, more);
		y += BAR + BAR_GAP;
	}
	return y;
}

/* Over the lines, when it is known how wide everything is. */
static void draw_bar(struct topology *t, const struct drawn_network *n)
{
	struct object *o = cluster_find(t->cluster, OBJECT_NETWORK, n->name);
	_cleanup_free_ char *name = svg_fit(&bar_font, n->name, NAME_MAX_X);
	_cleanup_free_ char *about = NULL;
	unsigned y = n->bar - BAR / 2, x = LEFT + 28;
	struct network_view v;
	char ip[16];

	network_view(o, &v);
	format_ip(v.subnet, ip);
	about = xasprintf("%s/%u, %s, %u node%s", ip, v.prefix,
	    network_state_name(v.state), v.users, v.users == 1 ? "" : "s");
	svg_draw(&t->svg,
	    "<rect x='%u' y='%u' width='%u' height='%u' rx='4' "
	    "fill='#ffffff' stroke='%s' stroke-width='2'/>"
	    "<circle cx='%u' cy='%u' r='5' fill='%s'/>",
	    LEFT, y, t->svg.width - LEFT, BAR, n->colour, LEFT + 14, n->bar,
	    svg_network_colour(v.state));
	svg_text(&t->svg, x, n->bar + 4, &bar_font, name);
	svg_text(&t->svg, x + svg_width(&bar_font, name) + 14, n->bar + 4,
	    &small, about);
}

static void draw_each(struct topology *t, unsigned y)
{
	size_t n = cluster_count(t->cluster, OBJECT_NODE), i = 0;
	struct node_view *nodes;
	struct object *o = NULL;

	if (n > NODES_DRAWN) {
		topology_crowd(t, y);
		return;
	}
	nodes = xcalloc(n + 1, sizeof(*nodes));
	while (i < n && (o = cluster_next(t->cluster, OBJECT_NODE,
			     o ? object_number(o) : 0)))
		node_view(o, &nodes[i++]);
	draw_nodes(t, nodes, i, y);
	free(nodes);
}

void render_topology(const struct render *r, struct buf *ret)
{
	struct topology t = {.cluster = r->cluster};
	_cleanup_free_ char *title = NULL, *about = NULL;
	struct cluster_view c;
	struct buf front;
	unsigned y;

	cluster_view(r->cluster, &c);
	title = xasprintf("Topology of %s", c.spec->name);
	about = xasprintf("nodes: %zu, networks: %zu; the cluster is %s",
	    cluster_count(r->cluster, OBJECT_NODE),
	    cluster_count(r->cluster, OBJECT_NETWORK),
	    cluster_state_name(c.state));
	svg_text(&t.svg, LEFT, 38, &title_font, title);
	svg_text(&t.svg, LEFT, 58, &small, about);
	y = take_networks(&t, legend(&t, 80) + 24);
	draw_each(&t, y + 16);
	svg_reach(&t.svg, 560, y);
	front = t.svg.body;
	t.svg.body = t.behind;
	buf_append(&t.svg.body, buf_str(&front), front.len);
	buf_done(&front);
	for (size_t i = 0; i < t.n_networks; i++)
		draw_bar(&t, &t.networks[i]);
	svg_end(&t.svg, title, ret);
}
