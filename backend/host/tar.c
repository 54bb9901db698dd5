/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers of tar: POSIX.1 "ustar" fields as GNU tar fills them, and its long
 * names ("././@LongLink", types L and K).
 */
#include <stdio.h>

#include "host/tar.h"

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8];
	char type, link[100], magic[8], user[32], group[32];
	char major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "a header is one block");

/* Octal with a NUL; or, where the digits do not suffice, GNU's big-endian
 * number with the first bit set. */
static void put_number(char *field, size_t len, uint64_t v)
{
	if (v < 1ULL << (3 * (len - 1))) {
		for (size_t i = len - 1; i--; v >>= 3)
			field[i] = (char)('0' + (v & 7));
		return;
	}
	for (size_t i = len; i--; v >>= 8)
		field[i] = (char)(v & 0xff);
	field[0] = (char)(field[0] | 0x80);
}

static int put_header(
    int fd, const struct tar_entry *e, const char *name, const char *link)
{
	struct header h = {.type = e->type, .magic = "ustar  "};
	const unsigned char *bytes = (const unsigned char *)&h;
	unsigned sum = 0;

	memcpy(h.name, name, MIN(strlen(name), sizeof(h.name)));
	memcpy(h.link, link, MIN(strlen(link), sizeof(h.link)));
	put_number(h.mode, sizeof(h.mode), e->mode & 07777);
	put_number(h.uid, sizeof(h.uid), e->uid);
	put_number(h.gid, sizeof(h.gid), e->gid);
	put_number(h.size, sizeof(h.size), e->size);
	put_number(h.mtime, sizeof(h.mtime), 0);
	memset(h.sum, ' ', sizeof(h.sum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += bytes[i];
	snprintf(h.sum, sizeof(h.sum), "%06o", sum & 0777777);
	return write_all(fd, &h, sizeof(h));
}

/* What does not fit into a header goes before it, as a file of its own. */
static int put_long(int fd, char type, const char *text)
{
	const struct tar_entry e = {
	    .mode = 0644, .type = type, .size = strlen(text) + 1};
	int r;

	if (strlen(text) <= sizeof(((struct header *)0)->name))
		return 0;
	r = put_header(fd, &e, "././@LongLink", "");
	if (r == 0)
		r = write_all(fd, text, e.size);
	return r < 0 ? r : tar_pad(fd, e.size);
}

int tar_begin(int fd, const struct tar_entry *e)
{
	const char *link = e->type == TAR_LINK ? e->link : "";
	struct tar_entry own = *e;
	int r = put_long(fd, 'K', link);

	if (own.type != TAR_FILE)
		own.size = 0;
	if (r == 0)
		r = put_long(fd, 'L', e->path);
	return r < 0 ? r : put_header(fd, &own, e->path, link);
}

int tar_pad(int fd, uint64_t size)
{
	static const char zeros[TAR_BLOCK];
	size_t rest = size % TAR_BLOCK;

	return rest ? write_all(fd, zeros, TAR_BLOCK - rest) : 0;
}

int tar_file(int fd, struct tar_entry e, const void *data, size_t len)
{
	int r;

	e.size = len;
	r = tar_begin(fd, &e);
	if (r == 0)
		r = write_all(fd, data, len);
	return r < 0 ? r : tar_pad(fd, len);
}

int tar_end(int fd)
{
	static const char zeros[2 * TAR_BLOCK];

	return write_all(fd, zeros, sizeof(zeros));
}
