// SPDX-License-Identifier: Apache-2.0
/*
 * Drawings for topology.svg and timeline.svg.  Who looks at them has fonts that
 * are not known here, so the widest of the usual ones is asked for first
 * (DejaVu Sans, as wide as Verdana) and reckoned with.
 */
#include <assert.h>
#include <stdio.h>
#include "fs/svg.h"

#define MARGIN 24
#define FONTS  "DejaVu Sans, Verdana, Segoe UI, Helvetica, Arial, sans-serif"

void svg_escape(struct buf *ret, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '&')
			buf_puts(ret, "&amp;");
		else if (c == '<')
			buf_puts(ret, "&lt;");
		else if (c == '>')
			buf_puts(ret, "&gt;");
		else if (c == '"')
			buf_puts(ret, "&quot;");
		else if (c == '\'')
			buf_puts(ret, "&#39;");
		else
			/* What is shown here is ASCII by its nature. */
			buf_putc(ret, c < ' ' || c > '~' ? '?' : (char)c);
	}
}

void svg_draw(struct svg *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&s->body, fmt, ap);
	va_end(ap);
	buf_putc(&s->body, '\n');
}

void svg_reach(struct svg *s, unsigned x, unsigned y)
{
	s->width = MAX(s->width, x);
	s->height = MAX(s->height, y);
}

unsigned svg_width(const struct svg_font *f, const char *text)
{
	/* DejaVu Sans: hundredths of the font's size, from ' ' to '~'. */
	static const unsigned char widths[] = {32, 41, 46, 84, 64, 96, 78, 28,
	    40, 40, 50, 84, 32, 37, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64,
	    64, 34, 34, 84, 84, 84, 54, 100, 69, 69, 70, 78, 64, 58, 78, 76, 30,
	    30, 66, 56, 87, 75, 79, 61, 79, 70, 64, 62, 74, 69, 99, 69, 62, 69,
	    40, 34, 40, 84, 50, 50, 62, 64, 55, 64, 62, 36, 64, 64, 28, 28, 58,
	    28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53, 64, 34,
	    64, 84};
	unsigned sum = 0;

	static_assert(ARRAY_SIZE(widths) == '~' - ' ' + 1, "all of ASCII");
	for (; *text; text++)
		sum += *text < ' ' || *text > '~' ? 100 : widths[*text - ' '];
	if (f->bold)
		sum = sum * 126 / 100; /* at most so much wider */
	return (sum * f->size + 99) / 100;
}

char *svg_fit(const struct svg_font *f, const char *text, unsigned width)
{
	_cleanup_free_ char *part = NULL;

	if (svg_width(f, text) <= width)
		return xstrdup(text);
	part = xstrdup(text);
	for (size_t n = strlen(part); n > 0; n--) {
		_cleanup_free_ char *cut = NULL;

		part[n - 1] = '\0';
		cut = xasprintf("%s...", part);
		if (svg_width(f, cut) <= width)
			return TAKE_PTR(cut);
	}
	return xstrdup("");
}

void svg_text(struct svg *s, unsigned x, unsigned y, const struct svg_font *f,
    const char *text)
{
	static const char *const anchors[] = {
	    "", " text-anchor='middle'", " text-anchor='end'"};
	unsigned width = svg_width(f, text);
	unsigned right = f->anchor == SVG_START    ? x + width
			 : f->anchor == SVG_MIDDLE ? x + width / 2 + 1
						   : x;

	if (!*text)
		return;
	buf_printf(&s->body, "<text x='%u' y='%u' font-size='%u'%s%s", x, y,
	    f->size, f->bold ? " font-weight='bold'" : "", anchors[f->anchor]);
	if (f->colour)
		buf_printf(&s->body, " fill='%s'", f->colour);
	buf_putc(&s->body, '>');
	svg_escape(&s->body, text);
	buf_puts(&s->body, "</text>\n");
	svg_reach(s, right, y + f->size / 3);
}

void svg_end(struct svg *s, const char *title, struct buf *ret)
{
	unsigned width = s->width + MARGIN, height = s->height + MARGIN;

	buf_printf(ret,
	    "<?xml version='1.0' encoding='UTF-8'?>\n"
	    "<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' "
	    "viewBox='0 0 %u %u' font-family='" FONTS "' fill='" SVG_INK "'>\n"
	    "<title>",
	    width, height, width, height);
	svg_escape(ret, title);
	buf_puts(ret, "</title>\n"
		      "<rect width='100%' height='100%' fill='#ffffff'/>\n");
	buf_append(ret, buf_str(&s->body), s->body.len);
	buf_puts(ret, "</svg>\n");
	buf_done(&s->body);
	*s = (struct svg){0};
}

void svg_legend_item(
    struct svg *s, struct svg_legend *l, const char *shape, const char *text)
{
	static const struct svg_font font = {.size = 11, .colour = SVG_MUTED};
	unsigned width = 22 + svg_width(&font, text);

	if (l->x > l->left && l->x + width > l->right) {
		l->x = l->left;
		l->y += 20;
	}
	svg_draw(
	    s, "<g transform='translate(%u %u)'>%s</g>", l->x, l->y, shape);
	svg_text(s, l->x + 22, l->y + 4, &font, text);
	l->x += width + 18;
}

const char *svg_node_colour(enum node_state s)
{
	static const char *const colours[] = {
	    [STATE_DOWN] = "#9aa5b1",
	    [STATE_STARTING] = "#8cc4f0",
	    [STATE_BOOTING] = "#2f86d6",
	    [STATE_PARTITIONING] = "#b39ddb",
	    [STATE_INSTALLING] = "#7450b5",
	    [STATE_CONFIGURING] = "#1f9e9a",
	    [STATE_UP] = "#2e9e5b",
	    [STATE_STOPPING] = "#e0a030",
	    [STATE_FAILED] = SVG_RED,
	};

	static_assert(ARRAY_SIZE(colours) == NODE_STATES, "all states");
	return colours[s];
}

const char *svg_network_colour(enum network_state s)
{
	static const char *const colours[] = {
	    [NET_DOWN] = "#9aa5b1",
	    [NET_STARTING] = "#2f86d6",
	    [NET_UP] = "#2e9e5b",
	    [NET_FAILED] = SVG_RED,
	};

	static_assert(ARRAY_SIZE(colours) == NETWORK_STATES, "all states");
	return colours[s];
}
