/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's side of the identity frame, fed whole, in pieces, with noise
 * around it and broken; the host's side made it.
 */
#include "test.h"

#include "host/newc.h"
#include "identity.h"
/* The guest's program is not in the library. */
#include "netboot/guest_frame.c" // NOLINT(bugprone-suspicious-include)
#include "util.h"

/* The frame of a small archive, as the host sends it. */
static struct buf make_frame(struct buf *ret_archive)
{
	struct err err = ERR_INIT;
	struct newc *n = newc_new();
	struct buf frame = {0};

	newc_add(n, "etc/hostname", 0644, "node01\n", 7);
	CHECK_INT(newc_finish(n, ret_archive, &err), 0);
	newc_frame(ret_archive, &frame);
	return frame;
}

static int is_archive(const struct frame *f, const struct buf *archive)
{
	return f->data && f->len == archive->len &&
	       memcmp(f->data, archive->data, f->len) == 0;
}

static void takes_a_frame_of_the_host(void)
{
	_cleanup_buf_ struct buf archive = {0};
	_cleanup_buf_ struct buf frame = make_frame(&archive);
	struct frame f = {0};

	CHECK_INT(frame_feed(&f, frame.data, frame.len), FRAME_DONE);
	CHECK(is_archive(&f, &archive));
	frame_reset(&f);
}

static void takes_it_in_pieces_of_any_size(void)
{
	_cleanup_buf_ struct buf archive = {0};
	_cleanup_buf_ struct buf frame = make_frame(&archive);

	for (size_t piece = 1; piece < 100; piece++) {
		struct frame f = {0};
		enum frame_result r = FRAME_MORE;
		size_t at = 0;

		for (; at < frame.len && r == FRAME_MORE; at += piece)
			r = frame_feed(
			    &f, frame.data + at, MIN(piece, frame.len - at));
		CHECK_INT(r, FRAME_DONE);
		CHECK(at >= frame.len);
		CHECK(is_archive(&f, &archive));
		frame_reset(&f);
	}
}

static void finds_it_behind_noise(void)
{
	static const char *const noises[] = {"noise", "R", "RACKFS-",
	    "RACKFS-IDENTITYRACKFS-IDENTIT", "\n\n\r", "RACKRACKFS",
	    "RACKFS-IDENTITYX 12 00000000\n"};
	_cleanup_buf_ struct buf archive = {0};
	_cleanup_buf_ struct buf frame = make_frame(&archive);

	for (size_t i = 0; i < ARRAY_SIZE(noises); i++) {
		struct frame f = {0};

		CHECK_INT(
		    frame_feed(&f, noises[i], strlen(noises[i])), FRAME_MORE);
		CHECK(!frame_begun(&f));
		CHECK_INT(frame_feed(&f, frame.data, frame.len), FRAME_DONE);
		CHECK(is_archive(&f, &archive));
		frame_reset(&f);
	}
}

static void says_when_a_frame_has_begun(void)
{
	struct frame f = {0};
	static const char head[] = IDENTITY_MAGIC " 5 ";

	CHECK(!frame_begun(&f));
	frame_feed(&f, head, sizeof(IDENTITY_MAGIC) - 1);
	CHECK(!frame_begun(&f));
	frame_feed(&f, head + sizeof(IDENTITY_MAGIC) - 1, 1);
	CHECK(frame_begun(&f));
	frame_reset(&f);
	CHECK(!frame_begun(&f));
}

/* Each bit turned: never taken for another archive, and the next frame is. */
static void refuses_every_turned_bit(void)
{
	_cleanup_buf_ struct buf archive = {0};
	_cleanup_buf_ struct buf frame = make_frame(&archive);

	for (size_t bit = 0; bit < frame.len * 8; bit++) {
		struct frame f = {0};

		frame.data[bit / 8] =
		    (char)(frame.data[bit / 8] ^ (1 << (bit % 8)));
		CHECK(frame_feed(&f, frame.data, frame.len) != FRAME_DONE);
		frame_reset(&f);
		frame.data[bit / 8] =
		    (char)(frame.data[bit / 8] ^ (1 << (bit % 8)));
		if (bit % 101 == 0) {
			CHECK_INT(
			    frame_feed(&f, frame.data, frame.len), FRAME_DONE);
			frame_reset(&f);
		}
	}
}

static void refuses_bad_headers(void)
{
	static const char *const heads[] = {" 0 00000000\n", " -1 00000000\n",
	    " 8388609 00000000\n", " 99999999999999999999999 00000000\n",
	    " 5 0000000\n", " 5 000000000\n", " 5 0000000G\n", " 5 0000000A\n",
	    " 5  00000000\n", " 5\n", " \n", " 05 00000000\n",
	    " 5 00000000\r\n"};

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		_cleanup_free_ char *s =
		    xasprintf("%s%s", IDENTITY_MAGIC, heads[i]);
		struct frame f = {0};

		CHECK_INT(frame_feed(&f, s, strlen(s)), FRAME_BROKEN);
		CHECK(!frame_begun(&f));
		frame_reset(&f);
	}
}

static void a_header_without_end_is_broken(void)
{
	struct frame f = {0};
	int broken = 0;

	frame_feed(&f, IDENTITY_MAGIC " ", sizeof(IDENTITY_MAGIC));
	for (int i = 0; i < 100 && !broken; i++)
		broken = frame_feed(&f, "1", 1) == FRAME_BROKEN;
	CHECK(broken);
	frame_reset(&f);
}

static void both_sides_have_one_checksum(void)
{
	CHECK_INT(frame_crc32("123456789", 9), 0xcbf43926);
	CHECK_INT(frame_crc32("123456789", 9), newc_crc32("123456789", 9));
	CHECK_INT(frame_crc32("", 0), 0);
}

static const struct test_case cases[] = {
    CASE(takes_a_frame_of_the_host),
    CASE(takes_it_in_pieces_of_any_size),
    CASE(finds_it_behind_noise),
    CASE(says_when_a_frame_has_begun),
    CASE(refuses_every_turned_bit),
    CASE(refuses_bad_headers),
    CASE(a_header_without_end_is_broken),
    CASE(both_sides_have_one_checksum),
};
TEST_MAIN(cases)
