// SPDX-License-Identifier: Apache-2.0
/*
 * topology.svg of many nodes: those that are on the same networks are one box,
 * with a square of its state's colour for each node, in the order of their
 * numbers.  Every line of squares begins with the name of its first node.
 */
#include <stdio.h>
#include "fs/topology.h"

#define GROUPS_MAX 16 /* the last one takes what is left */
#define SQUARES    50 /* a line */
#define SQUARE     10
#define LINE       14
#define NAME_WIDTH 110

static const struct svg_font head_font = {.size = 13, .bold = true};
static const struct svg_font small = {.size = 10, .colour = SVG_MUTED};

struct member {
	const char *name;
	enum node_state state;
};

struct group {
	uint32_t networks; /* bits by index in t->networks */
	bool rest;         /* those that are on other networks, or on none */
	struct member *members;
	size_t n, room;
	unsigned cut; /* links that are down */
};

static uint32_t networks_of(
    const struct topology *t, const struct node_view *v, unsigned *ret_cut)
{
	uint32_t bits = 0;

	*ret_cut = 0;
	for (size_t i = 0; i < v->n_nics; i++) {
		int at = topology_network(t, v->nics[i].network);

		if (at >= 0)
			bits |= 1u << at;
		*ret_cut += v->nics[i].spec->link == LINK_DOWN;
	}
	return bits;
}

static void put(struct group *groups, size_t *n_groups, uint32_t networks,
    unsigned cut, const struct member *m)
{
	struct group *g = groups;

	while (g < groups + *n_groups && !g->rest && g->networks != networks)
		g++;
	if (g == groups + *n_groups) {
		++*n_groups;
		g->networks = networks;
		g->rest = *n_groups == GROUPS_MAX;
		if (g->rest)
			g->networks = 0;
	}
	if (g->n == g->room) {
		g->room = g->room ? g->room * 2 : 256;
		g->members =
		    xrealloc(g->members, g->room * sizeof(*g->members));
	}
	g->members[g->n++] = *m;
	g->cut += cut;
}

static void squares(
    struct topology *t, const struct group *g, unsigned x, unsigned y)
{
	/* One path a state: a square is a few bytes. */
	struct buf paths[NODE_STATES] = {0};

	for (size_t i = 0; i < g->n; i++) {
		unsigned column = i % SQUARES;
		unsigned top = y + (unsigned)(i / SQUARES) * LINE;

		if (column == 0) {
			_cleanup_free_ char *name =
			    svg_fit(&small, g->members[i].name, NAME_WIDTH);

			svg_text(&t->svg, x, top + 9, &small, name);
		}
		buf_printf(&paths[g->members[i].state], "M%u %uh%uv%uh-%uz",
		    x + NAME_WIDTH + 8 + column * (SQUARE + 2), top, SQUARE,
		    SQUARE, SQUARE);
	}
	for (int s = 0; s < NODE_STATES; s++) {
		if (paths[s].len)
			svg_draw(&t->svg, "<path d='%s' fill='%s'/>",
			    paths[s].data, svg_node_colour(s));
		buf_done(&paths[s]);
	}
}

static unsigned draw_group(
    struct topology *t, const struct group *g, unsigned y)
{
	unsigned links = (unsigned)__builtin_popcount(g->networks);
	unsigned lines = (unsigned)((g->n + SQUARES - 1) / SQUARES);
	unsigned width = NAME_WIDTH + 28 + SQUARES * (SQUARE + 2);
	unsigned height = MAX(40 + lines * LINE, 20 + links * LINK_PITCH);
	unsigned at = y + 26;
	_cleanup_free_ char *head = xasprintf("%zu node%s%s", g->n,
	    g->n == 1 ? "" : "s", g->rest ? " on other networks" : "");

	svg_draw(&t->svg,
	    "<rect x='%u' y='%u' width='%u' height='%u' rx='4' "
	    "fill='#f5f7f9' stroke='" SVG_LINE "'/>",
	    LEFT, y, width, height);
	svg_text(&t->svg, LEFT + 10, y + 20, &head_font, head);
	if (g->cut) {
		_cleanup_free_ char *cut =
		    xasprintf("%u link%s down", g->cut, g->cut == 1 ? "" : "s");
		struct svg_font font = {.size = 11, .colour = SVG_RED};

		svg_text(&t->svg, LEFT + 26 + svg_width(&head_font, head),
		    y + 20, &font, cut);
	}
	squares(t, g, LEFT + 10, y + 32);
	topology_begin_block(t, LEFT + width + 220, g->networks);
	for (size_t i = 0; i < t->n_networks; i++) {
		if (!(g->networks & 1u << i))
			continue;
		topology_link(t, LEFT + width, at,
		    &(struct topology_link){.network = t->networks[i].name,
			.label = t->networks[i].name,
			.style = "stroke='" SVG_INK "' stroke-width='1.5'"});
		at += LINK_PITCH;
	}
	topology_end_block(t);
	svg_reach(&t->svg, LEFT + width, y + height);
	return y + height;
}

void topology_crowd(struct topology *t, unsigned y)
{
	struct group groups[GROUPS_MAX] = {0};
	struct object *o = NULL;
	size_t n = 0;

	while ((o = cluster_next(
		    t->cluster, OBJECT_NODE, o ? object_number(o) : 0))) {
		struct node_view v;
		uint32_t networks;
		unsigned cut;

		node_view(o, &v);
		networks = networks_of(t, &v, &cut);
		put(groups, &n, networks, cut,
		    &(struct member){v.name, v.state});
	}
	for (size_t i = 0; i < n; i++) {
		y = draw_group(t, &groups[i], y) + 16;
		free(groups[i].members);
	}
}
