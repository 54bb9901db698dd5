// SPDX-License-Identifier: Apache-2.0
/*
 * Texts of drawings: how wide they are at most, what of them fits, and that no
 * byte of theirs becomes markup.
 */
#include "fs/svg.h"
#include "test.h"

static const struct svg_font plain = {.size = 10}, bold = {10, .bold = true};

static void widths(void)
{
	CHECK_INT(svg_width(&plain, ""), 0);
	CHECK_INT(svg_width(&plain, "mmmmmmmmmm"), 98);
	CHECK_INT(svg_width(&plain, "iiiiiiiiii"), 28);
	CHECK(svg_width(&bold, "node01") > svg_width(&plain, "node01"));
	/* Bytes that are not known are as wide as the widest. */
	CHECK_INT(svg_width(&plain, "\xc3\xa9"), 20);
}

static void fits(void)
{
	static const char name[] = "a-rather-long-name-of-a-node";

	for (unsigned width = 0; width < 220; width++) {
		_cleanup_free_ char *s = svg_fit(&plain, name, width);
		size_t kept = strlen(s);

		CHECK(svg_width(&plain, s) <= width);
		if (width >= svg_width(&plain, name))
			CHECK_STR(s, name);
		else if (kept)
			CHECK_STR(s + kept - 3, "...");
	}
}

static void escapes(void)
{
	_cleanup_buf_ struct buf out = {0};

	svg_escape(&out, "<a b='c' & \"d\">\x01\n\xff");
	CHECK_STR(
	    buf_str(&out), "&lt;a b=&#39;c&#39; &amp; &quot;d&quot;&gt;???");
}

/* The drawing is as large as its texts need. */
static void size(void)
{
	static const struct svg_font end = {10, .anchor = SVG_END};
	_cleanup_buf_ struct buf out = {0};
	struct svg s = {0};

	svg_text(&s, 100, 50, &plain, "mmmmmmmmmm");
	svg_text(&s, 150, 80, &end, "mmmmmmmmmm");
	CHECK_INT(s.width, 198);
	CHECK_INT(s.height, 83);
	svg_end(&s, "a & b", &out);
	CHECK(strstr(buf_str(&out), "<title>a &amp; b</title>"));
	CHECK(strstr(buf_str(&out), "viewBox='0 0 222 107'"));
	CHECK_INT(s.body.len, 0);
}

static void legend_breaks(void)
{
	struct svg_legend l = {.left = 10, .right = 100, .x = 10, .y = 20};
	struct svg s = {0};

	for (int i = 0; i < 3; i++)
		svg_legend_item(&s, &l, "<path/>", "word");
	CHECK_INT(l.y, 60);
	CHECK(s.width <= 100);
	buf_done(&s.body);
}

static void states_differ(void)
{
	for (int a = 0; a < NODE_STATES; a++) {
		for (int b = 0; b < a; b++)
			CHECK(!STREQ(svg_node_colour(a), svg_node_colour(b)));
	}
	for (int a = 0; a < NETWORK_STATES; a++) {
		for (int b = 0; b < a; b++)
			CHECK(!STREQ(
			    svg_network_colour(a), svg_network_colour(b)));
	}
}

static const struct test_case cases[] = {
    CASE(widths),
    CASE(fits),
    CASE(escapes),
    CASE(size),
    CASE(legend_breaks),
    CASE(states_differ),
};
TEST_MAIN(cases)
