/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver of every fuzzer: mutates the inputs of a folder for some seconds.
 * It needs no compiler of its own, and is blind (no coverage): what it finds,
 * it finds by number.
 *
 *   fuzz_x [-seconds N] [-seed N] FOLDER    or   fuzz_x FILE (once, as it is)
 *
 * The input under way is kept in ./fuzz-last, for the case that it ends us.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz.h"
#include "util.h"

#define INPUT_MAX (64 * 1024)
#define SEEDS_MAX 1000

static struct buf seeds[SEEDS_MAX];
static size_t n_seeds;
static uint64_t state;

static uint64_t draw(uint64_t below)
{
	/* xorshift64: Marsaglia, "Xorshift RNGs", 2003. */
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : 0;
}

static int load(const char *folder)
{
	DIR *d = opendir(folder);
	const struct dirent *e;

	if (!d)
		return -1;
	while ((e = readdir(d)) && n_seeds < SEEDS_MAX) {
		if (e->d_name[0] == '.')
			continue;
		if (file_read(
			dirfd(d), e->d_name, INPUT_MAX, &seeds[n_seeds]) == 0)
			n_seeds++;
	}
	closedir(d);
	return 0;
}

/* Bytes that parsers look at. */
static char telling(void)
{
	static const char bytes[] = "{}[]\",:\\/.-+0123456789eEtfnu \n\r\t";

	return draw(4) ? bytes[draw(sizeof(bytes) - 1)] : (char)draw(256);
}

static size_t cut(char *p, size_t len)
{
	size_t at = draw(len), n = draw(len - at) + 1;

	memmove(p + at, p + at + n, len - at - n);
	return len - n;
}

/* Puts a piece of some input (or a byte, many times) in. */
static size_t graft(char *p, size_t len)
{
	const struct buf *from = &seeds[draw(n_seeds)];
	size_t at = draw(len + 1), n;

	if (draw(3) && from->len) {
		size_t start = draw(from->len);
		n = draw(from->len - start) + 1;
		n = MIN(n, INPUT_MAX - len); /* MIN evaluates twice */
		memmove(p + at + n, p + at, len - at);
		memcpy(p + at, from->data + start, n);
	} else {
		n = draw(draw(8) ? 4 : 40000) + 1;
		n = MIN(n, INPUT_MAX - len);
		memmove(p + at + n, p + at, len - at);
		memset(p + at, telling(), n);
	}
	return len + n;
}

static size_t mutate(char *p)
{
	const struct buf *from = &seeds[draw(n_seeds)];
	size_t len = from->len;

	if (len)
		memcpy(p, from->data, len);
	for (uint64_t i = draw(8); i > 0; i--) {
		if (len && draw(3) == 0)
			len = cut(p, len);
		else if (len && draw(2))
			p[draw(len)] = telling();
		else
			len = graft(p, len);
	}
	return len;
}

static void try_one(const char *p, size_t len)
{
	/* Exactly as large as it is, so that a read beyond it is seen. */
	_cleanup_free_ char *copy = xmalloc(len + 1);

	memcpy(copy, p, len);
	copy[len] = '\0';
	fuzz_one(copy, len);
}

static int run(double seconds)
{
	uint64_t end = now_mono() + (uint64_t)(seconds * USEC_PER_SEC);
	uint64_t rounds = 0, seed = state;
	int fd =
	    open("fuzz-last", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *shared;

	if (fd < 0 || ftruncate(fd, INPUT_MAX) < 0)
		return 1;
	shared =
	    mmap(NULL, INPUT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		return 1;
	for (; now_mono() < end; rounds++)
		try_one(shared, mutate(shared));
	munmap(shared, INPUT_MAX);
	unlink("fuzz-last");
	printf("ok %llu inputs, seed %llu\n", (unsigned long long)rounds,
	    (unsigned long long)seed);
	return rounds == 0;
}

int main(int argc, char **argv)
{
	double seconds = 1;
	int at = 1, r;
	struct stat st;

	random_bytes(&state, sizeof(state));
	for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
		if (STREQ(argv[at], "-seconds"))
			seconds = strtod(argv[at + 1], NULL);
		else if (STREQ(argv[at], "-seed"))
			state = strtoull(argv[at + 1], NULL, 10);
	}
	state |= 1; /* xorshift stays at 0 */
	if (at + 1 != argc || stat(argv[at], &st) < 0) {
		fprintf(stderr,
		    "usage: %s [-seconds N] [-seed N] FOLDER|FILE\n", argv[0]);
		return 2;
	}
	if (!S_ISDIR(st.st_mode)) {
		_cleanup_buf_ struct buf b = {0};
		if (file_read(AT_FDCWD, argv[at], INPUT_MAX, &b) < 0)
			return 1;
		try_one(b.data, b.len);
		return 0;
	}
	if (load(argv[at]) < 0 || n_seeds == 0) {
		fprintf(stderr, "%s: no input\n", argv[at]);
		return 1;
	}
	for (size_t i = 0; i < n_seeds; i++)
		try_one(seeds[i].data, seeds[i].len);
	r = run(seconds);
	for (size_t i = 0; i < n_seeds; i++)
		buf_done(&seeds[i]);
	return r;
}
