// SPDX-License-Identifier: Apache-2.0
/*
 * `timeline.svg`: what each node spent its time on, on its last way up: a row
 * each, a bar a stage.  It is made from the stages alone, as of the last
 * change, so that the same text is read until something changes: a stage that
 * runs has an open end.
 *
 * Rows begin at the first start of all while that is readable, else each at its
 * own: nodes that were started days apart.
 */
#include <assert.h>
#include <stdio.h>
#include "fs/files.h"
#include "fs/svg.h"

#define ROWS_MAX   1000 /* of more nodes those that took longest */
#define TALL_ROWS  60   /* up to so many have text in their bars */
#define TALL       24
#define THIN       4
#define THIN_NAMES 4 /* rows from one name to the next, when thin */
#define LEFT       24
#define NAME_WIDTH 220
#define CHART      860 /* pixels for the longest row */
#define OPEN_END   96  /* right of it: what goes on, what failed */

static const struct svg_font title_font = {.size = 18, .bold = true};
static const struct svg_font small = {.size = 11, .colour = SVG_MUTED};
static const struct svg_font name_font = {.size = 12};

struct stage_bar {
	enum stage stage;
	enum stage_state state;
	uint64_t started, ended; /* CLOCK_MONOTONIC usec */
};

struct row {
	const char *name;
	enum node_state state;
	uint64_t first, last; /* of its stages; 0: none */
	uint64_t first_real;
	uint32_t number;
	struct stage_bar bars[STAGES];
	size_t n;
};

struct timeline {
	struct svg svg;
	struct row *rows;
	size_t n, n_nodes;
	uint64_t origin; /* of all rows; 0: each its own */
	uint64_t origin_real, span;
	unsigned chart_x, top, pitch;
	unsigned stages; /* that occur, 1 << enum stage */
	bool runs, failed;
};

static const char *stage_colour(enum stage s)
{
	static const char *const colours[] = {
	    [STAGE_IMAGE] = "#c9b18b",
	    [STAGE_NETWORK] = "#7fb8d6",
	    [STAGE_MACHINE] = "#f0b24a",
	    [STAGE_BOOT] = "#5b9bd5",
	    [STAGE_SSH] = "#a9c77a",
	    [STAGE_PARTITION] = "#c7a5d8",
	    [STAGE_INSTALL] = "#a98bd0",
	    [STAGE_CONFIGURE] = "#6cc3b5",
	    [STAGE_RUN] = "#e8956d",
	    [STAGE_SERVICES] = "#8ea6b8",
	};

	return colours[s];
}

/* --- what there is --- */

static void take_row(struct row *row, struct object *o)
{
	struct node_view v;

	node_view(o, &v);
	*row =
	    (struct row){.name = v.name, .state = v.state, .number = v.number};
	for (size_t i = 0; i < v.n_stages; i++) {
		const struct stage_view *s = &v.stages[i];

		if (s->state == STAGE_WAITING || !s->started)
			continue;
		if (!row->first || s->started < row->first) {
			row->first = s->started;
			row->first_real = s->started_real;
		}
		row->last = MAX(row->last, MAX(s->started, s->ended));
		row->bars[row->n++] = (struct stage_bar){
		    s->stage, s->state, s->started, s->ended};
	}
}

static int by_duration(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t dx = x->last - x->first, dy = y->last - y->first;

	return dx == dy ? (x->number > y->number) - (x->number < y->number)
			: (dx < dy) - (dx > dy);
}

static int by_number(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static void gather(struct timeline *t, struct cluster *c)
{
	struct object *o = NULL;

	t->n_nodes = cluster_count(c, OBJECT_NODE);
	t->rows = xcalloc(t->n_nodes + 1, sizeof(*t->rows));
	while (t->n < t->n_nodes &&
	       (o = cluster_next(c, OBJECT_NODE, o ? object_number(o) : 0)))
		take_row(&t->rows[t->n++], o);
	if (t->n > ROWS_MAX) {
		qsort(t->rows, t->n, sizeof(*t->rows), by_duration);
		t->n = ROWS_MAX;
		qsort(t->rows, t->n, sizeof(*t->rows), by_number);
	}
	t->pitch = t->n > TALL_ROWS ? THIN : TALL;
}

/* Chooses where time begins, and how much of it is shown. */
static void measure(struct timeline *t)
{
	uint64_t first = 0, last = 0, longest = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct row *row = &t->rows[i];

		for (size_t k = 0; k < row->n; k++) {
			t->stages |= 1u << row->bars[k].stage;
			t->runs |= row->bars[k].state == STAGE_RUNNING;
			t->failed |= row->bars[k].state == STAGE_FAILED;
		}
		if (!row->n)
			continue;
		if (!first || row->first < first) {
			first = row->first;
			t->origin_real = row->first_real;
		}
		last = MAX(last, row->last);
		longest = MAX(longest, row->last - row->first);
	}
	t->span = longest;
	if (last - first <= 3 * longest) {
		t->origin = first;
		t->span = last - first;
	}
	t->span = MAX(t->span, USEC_PER_SEC / 10);
}

/* --- time --- */

static void format_duration(uint64_t usec, char out[32])
{
	double s = (double)usec / USEC_PER_SEC;

	if (s < 10)
		snprintf(out, 32, "%.2f s", s);
	else if (s < 180)
		snprintf(out, 32, "%.1f s", s);
	else if (s < 3 * 3600)
		snprintf(out, 32, "%.1f min", s / 60);
	else
		snprintf(out, 32, "%.1f h", s / 3600);
}

static unsigned x_of(const struct timeline *t, uint64_t usec)
{
	assert(t->span); /* by measure() */
	return t->chart_x + (unsigned)(MIN(usec, t->span) * CHART / t->span);
}

/* The step of the axis: 1, 2 or 5 of something, ten steps at most. */
static uint64_t axis_step(uint64_t span)
{
	static const uint64_t steps[] = {10000, 20000, 50000, 100000, 200000,
	    500000, 1000000, 2000000, 5000000, 10000000, 30000000, 60000000,
	    120000000, 300000000, 600000000, 1800000000, 3600000000};
	uint64_t step = steps[ARRAY_SIZE(steps) - 1];

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (span / steps[i] < 10)
			return steps[i];
	}
	while (span / step >= 10)
		step *= 2;
	return step;
}

static void axis(struct timeline *t, unsigned bottom)
{
	static const struct svg_font font = {
	    .size = 11, .colour = SVG_MUTED, .anchor = SVG_MIDDLE};
	uint64_t step = axis_step(t->span);
	uint64_t unit = step % 3600000000 == 0 ? 3600000000
			: step % 60000000 == 0 ? 60000000
					       : USEC_PER_SEC;
	const char *name = unit == USEC_PER_SEC ? "s"
			   : unit == 60000000   ? "min"
						: "h";

	for (uint64_t at = 0; at <= t->span; at += step) {
		double value = (double)at / (double)unit;
		unsigned x = x_of(t, at);
		char label[32];

		snprintf(label, sizeof(label), "%.*f %s",
		    step < 100000         ? 2
		    : step < USEC_PER_SEC ? 1
					  : 0,
		    value, name);
		svg_draw(&t->svg, "<path d='M%u.5 %uV%u' stroke='#e4e8ec'/>", x,
		    t->top, bottom);
		svg_text(&t->svg, x, t->top - 6, &font, label);
		svg_text(&t->svg, x, bottom + 16, &font, label);
	}
}

/* --- rows --- */

/* The stage and how long it took, as much of it as the bar has room for. */
static void bar_text(struct timeline *t, const struct stage_bar *b, unsigned x,
    unsigned y, unsigned width)
{
	static const struct svg_font font = {.size = 10, .anchor = SVG_MIDDLE};
	char took[32], text[64];

	format_duration(b->ended - b->started, took);
	snprintf(text, sizeof(text), "%s %s", stage_name(b->stage), took);
	if (svg_width(&font, text) + 8 > width)
		snprintf(text, sizeof(text), "%s", stage_name(b->stage));
	if (svg_width(&font, text) + 8 > width)
		return;
	svg_text(&t->svg, x + width / 2, y + t->pitch / 2 + 4, &font, text);
}

static void draw_bar(
    struct timeline *t, const struct stage_bar *b, uint64_t origin, unsigned y)
{
	static const struct svg_font word = {.size = 11, .colour = SVG_RED};
	bool tall = t->pitch == TALL, runs = b->state == STAGE_RUNNING;
	uint64_t from = b->started - origin;
	uint64_t to = MAX(b->ended, b->started) - origin;
	unsigned x = x_of(t, from), gap = tall ? 4 : 1;
	unsigned width =
	    runs ? t->chart_x + CHART + OPEN_END - x : MAX(x_of(t, to) - x, 1u);

	svg_draw(&t->svg,
	    "<rect x='%u' y='%u' width='%u' height='%u' fill='%s'%s/>", x,
	    y + gap / 2, width, t->pitch - gap, stage_colour(b->stage),
	    runs                       ? " fill-opacity='0.35'"
	    : b->state == STAGE_FAILED ? " stroke='" SVG_RED "'"
				       : "");
	if (!tall)
		return;
	if (runs) {
		char text[64];

		snprintf(text, sizeof(text), "%s runs", stage_name(b->stage));
		svg_text(&t->svg, t->chart_x + CHART + 8, y + 16, &small, text);
	} else {
		bar_text(t, b, x, y, width);
	}
	if (b->state == STAGE_FAILED)
		svg_text(&t->svg, x + width + 6, y + 16, &word, "failed");
}

/* What became of it: the state, and how long it took. */
static void draw_end(struct timeline *t, const struct row *row, unsigned y)
{
	struct svg_font font = {
	    .size = 11, .colour = svg_node_colour(row->state)};
	unsigned x = t->chart_x + CHART + OPEN_END + 14;
	char took[32], text[96];

	format_duration(row->last - row->first, took);
	if (!row->n || row->bars[row->n - 1].state == STAGE_RUNNING)
		snprintf(text, sizeof(text), "%s", node_state_name(row->state));
	else if (row->state == STATE_UP)
		snprintf(text, sizeof(text), "up in %s", took);
	else
		snprintf(text, sizeof(text), "%s after %s",
		    node_state_name(row->state), took);
	svg_draw(&t->svg, "<circle cx='%u' cy='%u' r='4' fill='%s'/>", x + 4,
	    y + t->pitch / 2, font.colour);
	font.colour = SVG_MUTED;
	svg_text(&t->svg, x + 14, y + 16, &font, text);
}

static void draw_row(struct timeline *t, size_t i)
{
	const struct row *row = &t->rows[i];
	unsigned y = t->top + (unsigned)i * t->pitch;
	bool tall = t->pitch == TALL;
	_cleanup_free_ char *name = svg_fit(&name_font, row->name, NAME_WIDTH);

	if (tall)
		svg_text(&t->svg, LEFT, y + 16, &name_font, name);
	else if (i % THIN_NAMES == 0)
		svg_text(&t->svg, LEFT, y + 8, &small, name);
	for (size_t k = 0; k < row->n; k++)
		draw_bar(
		    t, &row->bars[k], t->origin ? t->origin : row->first, y);
	if (tall)
		draw_end(t, row, y);
}

/* --- the head --- */

static void subtitle(const struct timeline *t, struct buf *ret)
{
	char when[32];

	format_time(t->origin_real, when);
	when[10] = ' ';
	when[19] = '\0';
	if (t->stages == 0)
		buf_puts(ret, "No node was started yet");
	else if (t->origin)
		buf_printf(ret, "Time since the first start, %s UTC", when);
	else
		buf_puts(ret, "Time since the start of each node");
	if (t->n < t->n_nodes)
		buf_printf(ret, "; the %zu of %zu nodes that took longest",
		    t->n, t->n_nodes);
}

static unsigned legend(struct timeline *t, unsigned y)
{
	struct svg_legend l = {
	    .left = LEFT, .right = t->chart_x + CHART, .x = LEFT, .y = y};

	for (unsigned s = 0; s < STAGES; s++) {
		_cleanup_free_ char *shape =
		    xasprintf("<rect width='16' height='12' y='-6' fill='%s'/>",
			stage_colour(s));

		if (t->stages & 1u << s)
			svg_legend_item(&t->svg, &l, shape, stage_name(s));
	}
	if (t->runs)
		svg_legend_item(&t->svg, &l,
		    "<rect width='16' height='12' y='-6' fill='#5b9bd5' "
		    "fill-opacity='0.35'/>",
		    "runs: has not ended yet");
	if (t->failed)
		svg_legend_item(&t->svg, &l,
		    "<rect width='16' height='12' y='-6' fill='#ffffff' "
		    "stroke='" SVG_RED "'/>",
		    "failed");
	return l.y;
}

static unsigned name_column(const struct timeline *t)
{
	unsigned width = 0;

	for (size_t i = 0; i < t->n; i++)
		width = MAX(width, svg_width(&name_font, t->rows[i].name));
	return MIN(width, NAME_WIDTH);
}

void render_timeline(const struct render *r, struct buf *ret)
{
	_cleanup_free_ char *title = NULL;
	_cleanup_buf_ struct buf about = {0};
	struct timeline t = {0};
	struct cluster_view c;
	unsigned bottom;

	cluster_view(r->cluster, &c);
	gather(&t, r->cluster);
	measure(&t);
	t.chart_x = LEFT + name_column(&t) + 16;
	title = xasprintf("Timeline of %s", c.spec->name);
	subtitle(&t, &about);
	svg_text(&t.svg, LEFT, 38, &title_font, title);
	svg_text(&t.svg, LEFT, 58, &small, buf_str(&about));
	t.top = legend(&t, 80) + 44;
	bottom = t.top + (unsigned)t.n * t.pitch + 4;
	if (t.stages)
		axis(&t, bottom);
	for (size_t i = 0; i < t.n; i++)
		draw_row(&t, i);
	svg_reach(&t.svg, t.chart_x + CHART + OPEN_END, bottom);
	svg_end(&t.svg, title, ret);
	free(t.rows);
}
