/* SPDX-License-Identifier: Apache-2.0
 *
 * Images made from files of the user's: archives, disk images, closures; and
 * what is wrong with them.  tar, qemu-img and nix-store make the files.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_fixture.h"

/* Runs in the folder. */
static bool sh(const char *fmt, ...) PRINTF(1, 2);
static bool sh(const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = {0};
	va_list ap;

	buf_printf(&b, "cd '%s' && { ", dir);
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_puts(&b, "; } >log 2>&1 </dev/null");
	return system(buf_str(&b)) == 0; /* NOLINT: a test's own words */
}

static char *output(const char *command)
{
	_cleanup_buf_ struct buf b = {0};
	_cleanup_free_ char *log = xasprintf("%s/log", dir);

	CHECK(sh("%s", command));
	CHECK_INT(file_read(AT_FDCWD, log, MIB, &b), 0);
	char *text = buf_take(&b);
	text[strcspn(text, " \n")] = '\0';
	return text;
}

static size_t in_cache(const char *prefix)
{
	_cleanup_free_ char *cache = xasprintf("%s/cache", dir);
	DIR *d = opendir(cache);
	struct dirent *e;
	size_t n = 0;

	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	if (d)
		closedir(d);
	return n;
}

struct made {
	int code;
	struct image_look look;
	struct err err;
};

static struct made make(const struct image_driver *d, const char *source,
    const char *sha256, const char *init)
{
	_cleanup_free_ char *path = source[0] == '/'
					? xstrdup(source)
					: xasprintf("%s/%s", dir, source);
	_cleanup_free_ char *cache = xasprintf("%s/cache", dir);
	struct made m = {0};
	const struct image_slice s = {.source = path,
	    .sha256 = sha256,
	    .init = init,
	    .cache_dir = cache,
	    .data_dir = RACKFS_DATA_DIR};

	CHECK_INT(mkdir_p(cache, 0700), 0);
	m.code = ask(d, true, false, &s, &m.look, &m.err);
	CHECK_INT(in_cache("build."), 0);
	return m;
}

static void refused(const struct image_driver *d, const char *source,
    const char *sha256, const char *init, const char *word)
{
	struct made m = make(d, source, sha256, init);

	CHECK(m.code < 0 && !m.look.ready);
	if (!strstr(m.err.text, word))
		printf("# %s: %d %s\n", source, m.code, m.err.text);
	CHECK(strstr(m.err.text, word));
}

/* --- archives ------------------------------------------------------------- */

static void make_tree(void)
{
	CHECK(sh("rm -rf tree && mkdir -p tree/usr/sbin tree/etc tree/dev && "
		 "ln -s usr/sbin tree/sbin && ln -s /run tree/run && "
		 "echo '#!/bin/sh' >tree/usr/sbin/init && "
		 "echo caf\303\251 >tree/etc/'caf\303\251' && "
		 "ln tree/usr/sbin/init tree/usr/sbin/other && "
		 "mkfifo tree/dev/pipe && chmod 4711 tree/usr/sbin/init && "
		 "head -c 300000 /dev/zero >tree/etc/big && "
		 "tar -C tree -cf tree.tar --sort=name ."));
}

static void every_compression_gives_the_same_tar(void)
{
	static const char *const ends[][2] = {{"tar", "cat"}, {"gz", "gzip"},
	    {"xz", "xz"}, {"zst", "zstd -q"}, {"bz2", "bzip2"}};
	char digest[65] = "";

	make_tree();
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		_cleanup_free_ char *name = xasprintf("t.%s", ends[i][0]);
		_cleanup_free_ char *sha256 = NULL, *want = NULL, *sum = NULL;

		if (i > 0 && !sh("%s --version", ends[i][1]))
			continue;
		CHECK(sh("%s <tree.tar >%s", ends[i][1], name));
		want = xasprintf("sha256sum %s", name);
		sha256 = output(want);
		struct made m = make(&image_archive, name, sha256, NULL);
		if (m.code < 0)
			printf("# %s: %s\n", name, m.err.text);
		CHECK_INT(m.code, 0);
		CHECK(m.look.ready);
		CHECK_STR(m.look.init, "/sbin/init");
		free(want);
		want = xasprintf("sha256sum %s", m.look.source);
		sum = output(want);
		CHECK_STR(sum, m.look.digest);
		struct stat st;
		CHECK_INT(stat(m.look.source, &st), 0);
		CHECK_INT((uint64_t)st.st_size, m.look.size);
		if (digest[0])
			CHECK_STR(m.look.digest, digest);
		snprintf(digest, sizeof(digest), "%s", m.look.digest);
	}
	struct made m = make(&image_archive, "t.tar", NULL, NULL);
	CHECK(sh("rm -rf got && mkdir got && tar -C got -xpf %s && "
		 "diff -r -x pipe --no-dereference tree got && "
		 "[ $(stat -c %%a got/usr/sbin/init) = 4711 ] && "
		 "[ $(stat -c %%h got/usr/sbin/other) = 2 ] && "
		 "[ -p got/dev/pipe ]",
	    m.look.source));
}

static void what_is_in_the_cache_is_not_made_again(void)
{
	_cleanup_free_ char *path = xasprintf("%s/again.tar", dir);
	_cleanup_free_ char *cache = xasprintf("%s/cache", dir);
	const struct image_slice s = {.source = path, .cache_dir = cache};
	struct image_look look;
	struct err err = ERR_INIT;

	make_tree();
	CHECK(sh("cp tree.tar again.tar"));
	CHECK_INT(ask(&image_archive, false, false, &s, &look, &err), 0);
	CHECK(!look.ready);
	struct made m = make(&image_archive, "again.tar", NULL, NULL);
	CHECK_INT(m.code, 0);
	CHECK_INT(ask(&image_archive, false, false, &s, &look, &err), 0);
	CHECK(look.ready);
	CHECK_STR(look.source, m.look.source);
	/* Another file is another image. */
	CHECK(sh("rm tree/etc/big && tar -C tree -cf again.tar ."));
	CHECK_INT(ask(&image_archive, false, false, &s, &look, &err), 0);
	CHECK(!look.ready);
	/* A folder that has lost its file is made again. */
	CHECK(sh("rm %s", m.look.source));
	m = make(&image_archive, "again.tar", NULL, NULL);
	CHECK_INT(m.code, 0);
	CHECK(sh("rm %s", m.look.source));
	m = make(&image_archive, "again.tar", NULL, NULL);
	CHECK_INT(m.code, 0);
	CHECK_INT(access(m.look.source, R_OK), 0);
}

static void broken_archives_are_told(void)
{
	static const char zeros[] = "00000000000000000000000000000000"
				    "00000000000000000000000000000000";
	_cleanup_free_ char *sum = NULL;

	make_tree();
	CHECK(sh("gzip -k tree.tar && head -c 700 tree.tar.gz >cut.gz && "
		 "head -c 100000 tree.tar >cut.tar && "
		 "head -c 512 tree.tar >end.tar && "
		 "echo 'no archive at all' >text && : >empty && "
		 "head -c 20480 /dev/zero >zeros && mkdir -p folder && "
		 "tar -C tree/etc -cf noinit.tar ."));
	sum = output("sha256sum tree.tar");
	refused(&image_archive, "tree.tar", zeros, NULL, sum);
	refused(&image_archive, "tree.tar", zeros, NULL, zeros);
	/* A wrong file is told before what is odd in it. */
	refused(&image_archive, "cut.tar", zeros, NULL, "the spec wants");
	refused(&image_archive, "text", zeros, NULL, "not a tar archive");
	refused(&image_archive, "cut.gz", NULL, NULL, "broken or cut off");
	refused(&image_archive, "cut.tar", NULL, NULL, "cut off");
	refused(&image_archive, "end.tar", NULL, "/", "cut off");
	refused(&image_archive, "text", NULL, NULL, "not a tar archive");
	refused(&image_archive, "empty", NULL, NULL, "is empty");
	refused(&image_archive, "zeros", NULL, NULL, "no files");
	refused(&image_archive, "missing", NULL, NULL, "there is no");
	refused(&image_archive, "folder", NULL, NULL, "folder");
	refused(&image_archive, "noinit.tar", NULL, NULL, "no /sbin/init");
	refused(&image_archive, "tree.tar", NULL, "/bin/none", "no /bin/none");
	CHECK_INT(
	    make(&image_archive, "tree.tar", NULL, "/usr/sbin/other").code, 0);
}

static void archives_that_escape_are_refused(void)
{
	make_tree();
	CHECK(
	    sh("tar -C tree/etc -cf up.tar --transform='s|^big|../big|' big && "
	       "tar -C tree/etc -Pcf abs.tar --transform='s|^big|/tmp/x|' big "
	       "&& mkdir -p t1 t2/out && ln -sfn /tmp t1/out && "
	       "cp tree/etc/big t2/out/x && tar -C t1 -cf through.tar out && "
	       "tar -C t2 -rf through.tar out/x"));
	refused(&image_archive, "up.tar", NULL, NULL, "outside by ..");
	refused(&image_archive, "abs.tar", NULL, NULL, "absolute name");
	refused(&image_archive, "through.tar", NULL, NULL, "leads outside");
}

static void a_build_that_is_cancelled_leaves_nothing(void)
{
	_cleanup_free_ char *path = xasprintf("%s/tree.tar", dir);
	_cleanup_free_ char *cache = xasprintf("%s/cache2", dir);
	const struct image_slice s = {.source = path, .cache_dir = cache};
	struct image_look look;
	struct err err = ERR_INIT;

	make_tree();
	CHECK_INT(mkdir_p(cache, 0700), 0);
	CHECK_INT(ask(&image_archive, true, true, &s, &look, &err), -ECANCELED);
	CHECK(!look.ready && err.text[0]);
	CHECK_INT(rmdir(cache), 0);
}

/* --- disk images ---------------------------------------------------------- */

static void disks_are_used_where_they_are(void)
{
	_cleanup_free_ char *raw = xasprintf("%s/raw.img", dir);
	_cleanup_free_ char *sum = NULL;

	if (!sh("qemu-img --version"))
		SKIP("no qemu-img");
	CHECK(sh("head -c 1000001 /dev/urandom >raw.img && "
		 "truncate -s 3M raw.img && "
		 "qemu-img create -q -f qcow2 disk.qcow2 64M"));
	sum = output("sha256sum raw.img");
	struct made m = make(&image_disk, "raw.img", sum, NULL);
	CHECK_INT(m.code, 0);
	CHECK_STR(m.look.source, raw);
	CHECK_STR(m.look.digest, sum);
	CHECK_INT(m.look.size, 3 * MIB);
	CHECK_INT(m.look.format, FORMAT_RAW);
	m = make(&image_disk, "disk.qcow2", NULL, NULL);
	CHECK_INT(m.code, 0);
	CHECK_INT(m.look.size, 64 * MIB);
	CHECK_INT(m.look.format, FORMAT_QCOW2);
}

static void disks_that_lead_elsewhere_are_refused(void)
{
	if (!sh("qemu-img --version"))
		SKIP("no qemu-img");
	CHECK(sh("head -c 2M /dev/urandom >raw.img && "
		 "qemu-img create -q -f qcow2 -b raw.img -F raw over.qcow2 && "
		 "qemu-img create -q -f qcow2 -o data_file=data.raw ext.qcow2 "
		 "4M && "
		 "qemu-img convert -O qcow2 raw.img cut.qcow2 && "
		 "truncate -s 700000 cut.qcow2 && "
		 "qemu-img convert -O vmdk raw.img x.vmdk && "
		 "gzip -c raw.img >raw.gz && echo hello >small"));
	refused(&image_disk, "over.qcow2", NULL, NULL, "backing file");
	refused(&image_disk, "ext.qcow2", NULL, NULL, "in another file");
	refused(&image_disk, "cut.qcow2", NULL, NULL, "cut.qcow2");
	refused(&image_disk, "x.vmdk", NULL, NULL, "VMDK");
	refused(&image_disk, "raw.gz", NULL, NULL, "compressed by gzip");
	refused(&image_disk, "small", NULL, NULL, "too small");
	refused(&image_disk, "missing", NULL, NULL, "there is no");
	refused(&image_disk, "raw.img",
	    "0000000000000000000000000000000000000000000000000000000000000000",
	    NULL, "the spec wants");
}

/* --- closures ------------------------------------------------------------- */

/* A system of two paths in a store of its own, registered by hand since
 * nothing can be built in one, and what nix says of it. */
static bool make_closure(void)
{
	return sh(
	    "export NIX_REMOTE=\"local?root=$PWD/nix\" HOME=$PWD; "
	    "chmod -R u+w nix; rm -rf nix; echo words >lib && "
	    "lib=$(nix-store --add lib) && "
	    "top=/nix/store/00000000000000000000000000000000-toy && "
	    "d=nix$top && mkdir -p $d/bin $d/empty && ln -s $lib $d/lib && "
	    "echo run >$d/bin/run && chmod 555 $d/bin/run && "
	    "ln -s bin/run $d/init && : >$d/nothing && nix-store --dump $d "
	    ">nar "
	    "&& printf '%%s\\n' $top $(sha256sum <nar | cut -c1-64) "
	    "$(stat -c %%s nar) '' 1 $lib | nix-store --load-db && "
	    "paths=$(nix-store -qR $top) && echo $top >top && "
	    "nix-store --export $paths >export && "
	    "nix-store --export $top >half && "
	    "nix-store --dump-db $paths >db && rm -rf nix/nix/store/.links");
}

static void closures_become_a_tar_and_a_registration(void)
{
	_cleanup_free_ char *top = NULL, *init = NULL;

	if (!sh("nix-store --version"))
		SKIP("no nix-store");
	CHECK(make_closure());
	top = output("cat top");
	init = xasprintf("%s/init", top);
	struct made m = make(&image_closure, "export", NULL, NULL);
	if (m.code < 0)
		printf("# %s\n", m.err.text);
	CHECK_INT(m.code, 0);
	CHECK_STR(m.look.init, init);
	/* The same as nix has; its order is another. */
	CHECK(sh("[ $(wc -l <db) = $(wc -l <%s) ] && sort db >1 && "
		 "sort %s | diff 1 -",
	    m.look.registration, m.look.registration));
	CHECK(sh("chmod -R u+w got; rm -rf got && mkdir got && "
		 "tar -C got -xpf %s && "
		 "diff -r --no-dereference nix/nix/store got/nix/store && "
		 "[ $(stat -c %%a got%s/bin/run) = 555 ] && "
		 "[ -d got%s/empty ] && [ $(stat -c %%Y got%s/bin) = 1 ]",
	    m.look.source, top, top, top));
	CHECK(sh("mkdir -p into && tar -C into -xpf %s && "
		 "export NIX_REMOTE=\"local?root=$PWD/into\" && "
		 "nix-store --load-db <%s && "
		 "nix-store --verify --check-contents",
	    m.look.source, m.look.registration));
	CHECK(sh("zstd -q export -o export.zst"));
	m = make(&image_closure, "export.zst", NULL, init);
	CHECK_INT(m.code, 0);
}

static void broken_closures_are_told(void)
{
	_cleanup_free_ char *lib = NULL;

	if (!sh("nix-store --version"))
		SKIP("no nix-store");
	CHECK(make_closure());
	CHECK(sh(
	    "head -c 900 export >cut && sed 's/nix-archive-1/nix-archive-9/' "
	    "export >odd && echo no >text && tar -cf x.tar lib"));
	lib = output("grep -m1 -- -lib$ db");
	/* The closure with a path missing: it is named. */
	refused(&image_closure, "half", NULL, NULL, lib);
	refused(&image_closure, "cut", NULL, NULL, "cut off");
	refused(&image_closure, "odd", NULL, NULL, "no output of nix-store");
	refused(&image_closure, "text", NULL, NULL, "text");
	refused(&image_closure, "x.tar", NULL, NULL, "no output of nix-store");
	refused(&image_closure, "missing", NULL, NULL, "there is no");
	refused(&image_closure, "export", NULL, "/nix/store/x/init",
	    "/nix/store/x/init is in no path");
	refused(&image_closure, "export",
	    "0000000000000000000000000000000000000000000000000000000000000000",
	    NULL, "the spec wants");
}

static const struct test_case cases[] = {
    CASE(every_compression_gives_the_same_tar),
    CASE(what_is_in_the_cache_is_not_made_again),
    CASE(broken_archives_are_told),
    CASE(archives_that_escape_are_refused),
    CASE(a_build_that_is_cancelled_leaves_nothing),
    CASE(disks_are_used_where_they_are),
    CASE(disks_that_lead_elsewhere_are_refused),
    CASE(closures_become_a_tar_and_a_registration),
    CASE(broken_closures_are_told),
};

int main(void)
{
	if (!mkdtemp(dir) || loop_new(&loop) < 0)
		return 1;
	int bad = test_main(cases, ARRAY_SIZE(cases));
	loop_free(loop);
	buf_done(&logged);
	(void)sh("chmod -R u+w ."); /* a store's folders are read-only */
	remove_tree(AT_FDCWD, dir);
	return bad;
}
