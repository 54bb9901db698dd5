/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a drawing: text whose width is known, colours of states, a legend.
 * Lengths are pixels.  It knows no file and no object.
 */
#ifndef RACKFS_FS_SVG_H
#define RACKFS_FS_SVG_H

#include "state.h"

#define SVG_INK   "#1f2933"
#define SVG_MUTED "#5b6773"
#define SVG_LINE  "#c3cad2"
#define SVG_RED   "#c93434"

enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };

struct svg_font {
	unsigned size;
	const char *colour; /* NULL: SVG_INK */
	bool bold;
	enum svg_anchor anchor;
};

struct svg {
	struct buf body;
	unsigned width, height; /* that is drawn on so far */
};

/* Shapes, as they are. */
void svg_draw(struct svg *s, const char *fmt, ...) PRINTF(2, 3);
/* (x, y): an end or the middle of its base line. */
void svg_text(struct svg *s, unsigned x, unsigned y, const struct svg_font *f,
    const char *text);
/* Room is needed up to there. */
void svg_reach(struct svg *s, unsigned x, unsigned y);
/* The whole document; empties *s. */
void svg_end(struct svg *s, const char *title, struct buf *ret);
/* For attributes and the content of elements. */
void svg_escape(struct buf *ret, const char *text);

/* At least what the text takes in any usual font. */
unsigned svg_width(const struct svg_font *f, const char *text);
/* The text, or what of it fits and "..."; owned. */
char *svg_fit(const struct svg_font *f, const char *text, unsigned width);

/* A legend: items from left to right, broken into lines at `right`. */
struct svg_legend {
	unsigned left, right;
	unsigned x, y; /* of the next item's middle line */
};
/* shape: what draws 16 x 12 pixels around the middle line, such as
 * "<rect width='16' height='12' y='-6'/>". */
void svg_legend_item(
    struct svg *s, struct svg_legend *l, const char *shape, const char *text);

const char *svg_node_colour(enum node_state s);
const char *svg_network_colour(enum network_state s);

#endif
