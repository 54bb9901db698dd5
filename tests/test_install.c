/* SPDX-License-Identifier: Apache-2.0
 *
 * The install drivers without a guest: what one says is parsed, the top of a
 * closure; and whole images that become the file of a disk, by qemu-img.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/install_guest.h"
#include "test.h"

#define PATIENCE (60 * USEC_PER_SEC)

static char dir[] = "/tmp/test_install.XXXXXX";
static struct loop *loop;

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

/* --- what a guest says ------------------------------------------------- */

#define DIGEST                                                                 \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void an_answer_is_parsed(void)
{
	struct install_facts f = {0};
	struct err err = ERR_INIT;

	CHECK_INT(install_facts_parse("copied " DIGEST "\n"
				      "boot 0011223344556677\n"
				      "mount ext4 1000 /mnt\n"
				      "mount vfat 20 /mnt/boot and more\n"
				      "begun yes\n"
				      "holds /mnt/a\033b\n"
				      "end\n",
		      &f, &err),
	    0);
	CHECK_STR(f.look.copied, DIGEST);
	CHECK_STR(f.look.installed, "");
	CHECK_STR(f.boot, "0011223344556677");
	CHECK(f.begun);
	CHECK_STR(f.holds, "/mnt/a\\x1bb");
	CHECK_INT(f.n_mounts, 2);
	CHECK_STR(f.mounts[0].type, "ext4");
	CHECK_STR(f.mounts[0].target, "/mnt");
	CHECK_INT(f.mounts[0].free, 1000 * KIB);
	CHECK_STR(f.mounts[1].target, "/mnt/boot and more");
	install_facts_done(&f);
}

static void a_strange_answer_does_no_harm(void)
{
	static const char *const texts[] = {
	    "",
	    "copied " DIGEST "\n",
	    "copied " DIGEST "0\nend\n",
	    "copied ../../etc\nend\n",
	    "copied\nend\n",
	    "mount\nmount ext4\nmount ext4 x /mnt\nmount ext4 1\nend\n",
	    "mount ext4 99999999999999999999999 /mnt\nend\n",
	    "boot 00112233445566778899\nholds\nbegun\n \nend",
	};
	_cleanup_buf_ struct buf many = {0};
	struct install_facts f = {0};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err = ERR_INIT;
		int r = install_facts_parse(texts[i], &f, &err);

		CHECK_INT(r, i < 2 ? -EIO : 0);
		CHECK((r < 0) == (err.text[0] != 0));
		CHECK_STR(f.boot, "");
		CHECK(i == 1 || !f.look.copied[0]);
		install_facts_done(&f);
	}
	for (int i = 0; i < 1000; i++)
		buf_puts(&many, "mount ext4 1 /mnt\n");
	buf_puts(&many, "end\n");
	CHECK_INT(install_facts_parse(many.data, &f, NULL), 0);
	CHECK_INT(f.n_mounts, INSTALL_MOUNTS);
	install_facts_done(&f);
}

static void the_top_of_a_closure(void)
{
	static const struct {
		const char *init, *top;
	} table[] = {
	    {"/nix/store/abc-nixos-1.2/init", "/nix/store/abc-nixos-1.2"},
	    {"/nix/store/abc/sub/init", NULL},
	    {"/nix/store//init", NULL},
	    {"/nix/store/../init", NULL},
	    {"/nix/store/.hidden/init", NULL},
	    {"/nix/store/a b/init", NULL},
	    {"/nix/store/abc/", NULL},
	    {"/nix/store/init", NULL},
	    {"/sbin/init", NULL},
	    {"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		_cleanup_free_ char *top = install_top(table[i].init);

		if (table[i].top)
			CHECK_STR(top, table[i].top);
		else
			CHECK(!top);
	}
}

/* --- whole disks --------------------------------------------------------- */

static bool ended;
static int code;
static struct err why;
static int last_percent;
static bool cancel_soon;

static void on_done(struct op *op, int c, const struct err *err)
{
	CHECK(!ended);
	ended = true;
	code = c;
	err_copy(&why, err);
}

static void on_progress(struct op *op, int percent, const char *text)
{
	last_percent = percent;
	if (cancel_soon && percent >= 0)
		op_cancel(op);
}

struct place {
	struct driver_env env;
	char *source, *disk, *seed;
	struct image_look *image;
	struct install_slice slice;
	void *self;
};

static char *text_of(int tenths)
{
	return xasprintf("piece %d\n", tenths);
}

static void set_up(struct place *p)
{
	*p = (struct place){
	    .env = {.loop = loop,
		.name = "node01",
		.state_dir = dir,
		.runtime_dir = dir},
	    .source = in_dir("image"),
	    .disk = in_dir("disk"),
	    .seed = in_dir("seed"),
	    .image = xcalloc(1, sizeof(*p->image)),
	};
	int fd =
	    open(p->source, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_INT(ftruncate(fd, 10 * MIB), 0);
	for (int i = 0; i < 10; i++) {
		_cleanup_free_ char *text = text_of(i);
		CHECK(pwrite(fd, text, strlen(text),
			  (off_t)((uint64_t)i * MIB)) > 0);
	}
	close(fd);
	snprintf(p->image->source, sizeof(p->image->source), "%s", p->source);
	memset(p->image->digest, 'a', sizeof(p->image->digest) - 1);
	p->image->format = FORMAT_RAW;
	p->image->size = 10 * MIB;
	p->slice = (struct install_slice){
	    .image = p->image,
	    .disk_path = p->disk,
	    .disk_format = FORMAT_RAW,
	    .disk_size = 20 * MIB,
	};
	CHECK_INT(install_disk.open(&p->env, &p->self, NULL), 0);
}

static void tear_down(struct place *p)
{
	install_disk.close(p->self);
	CHECK_INT(remove_tree(AT_FDCWD, dir), 0);
	CHECK_INT(mkdir(dir, 0700), 0);
	free(p->source);
	free(p->disk);
	free(p->seed);
	free(p->image);
}

static int ensure(struct place *p)
{
	struct op op = {
	    .what = "ensure", .done = on_done, .progress = on_progress};
	uint64_t until = now_mono() + PATIENCE;
	int r;

	ended = false;
	last_percent = -1;
	why = ERR_INIT;
	r = install_ensure(&install_disk, p->self, &p->slice, &op, &why);
	if (r < 0)
		return r;
	while (!ended && now_mono() < until)
		loop_turn(loop, 100 * USEC_PER_MSEC);
	CHECK(ended);
	return code;
}

static const char *installed(struct place *p)
{
	static struct install_look look;

	install_disk.look(p->self, &look);
	return look.installed;
}

static bool leftovers(struct place *p)
{
	_cleanup_free_ char *temporary = xasprintf("%s.installing", p->disk);

	return access(temporary, F_OK) == 0;
}

/* Every piece is where it was, after that nothing. */
static void check_content(const char *path)
{
	char is[16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	for (int i = 0; i < 10; i++) {
		_cleanup_free_ char *text = text_of(i);
		CHECK(pread(fd, is, strlen(text), (off_t)((uint64_t)i * MIB)) ==
		      (ssize_t)strlen(text));
		CHECK(memcmp(is, text, strlen(text)) == 0);
	}
	close(fd);
}

static bool no_qemu_img(void)
{
	return install_disk.available(NULL) < 0;
}
#define NEED_QEMU_IMG()                                                        \
	do {                                                                   \
		if (no_qemu_img())                                             \
			SKIP("qemu-img is not installed");                     \
	} while (0)

static void an_image_becomes_a_disk(void)
{
	struct place p;
	struct stat st, again;

	NEED_QEMU_IMG();
	set_up(&p);
	p.slice.seed_path = p.seed;
	p.slice.user_data = "#cloud-config\n";
	CHECK_INT(ensure(&p), 0);
	CHECK_STR(installed(&p), p.image->digest);
	check_content(p.disk);
	CHECK_INT(stat(p.disk, &st), 0);
	CHECK_INT(st.st_size, 20 * MIB); /* grown */
	CHECK_INT(st.st_mode & 0777, 0600);
	CHECK_INT(access(p.seed, R_OK), 0);
	CHECK(!leftovers(&p));
	/* What is there already stays; the seed is made anew. */
	CHECK_INT(unlink(p.seed), 0);
	CHECK_INT(ensure(&p), 0);
	CHECK_INT(stat(p.disk, &again), 0);
	CHECK(st.st_ino == again.st_ino &&
	      st.st_mtim.tv_nsec == again.st_mtim.tv_nsec);
	CHECK_INT(access(p.seed, R_OK), 0);
	/* A file that was made anew is another one. */
	CHECK_INT(unlink(p.disk), 0);
	CHECK_INT(file_replace(AT_FDCWD, p.disk, "", 0, 0600), 0);
	CHECK_INT(truncate(p.disk, 20 * MIB), 0);
	CHECK_INT(ensure(&p), 0); /* it is blank */
	check_content(p.disk);
	tear_down(&p);
}

static void formats_are_changed(void)
{
	_cleanup_free_ char *raw = in_dir("raw");
	_cleanup_free_ char *command = NULL;
	struct place p;

	NEED_QEMU_IMG();
	set_up(&p);
	p.slice.disk_format = FORMAT_QCOW2;
	CHECK_INT(ensure(&p), 0);
	command = xasprintf("qemu-img convert -O raw %s %s", p.disk, raw);
	CHECK_INT(system(command), 0);
	check_content(raw);
	struct stat st;
	CHECK_INT(stat(raw, &st), 0);
	CHECK_INT(st.st_size, 20 * MIB);
	tear_down(&p);
}

/* A qcow2 that names another file behind it gets zeros, not that file. */
static void nothing_behind_an_image_is_read(void)
{
	_cleanup_free_ char *secret = in_dir("secret");
	_cleanup_free_ char *command = NULL;
	struct place p;
	char byte = 'x';

	NEED_QEMU_IMG();
	set_up(&p);
	CHECK_INT(file_replace(AT_FDCWD, secret, "secret", 6, 0600), 0);
	CHECK_INT(truncate(secret, MIB), 0);
	command = xasprintf(
	    "qemu-img create -q -f qcow2 -b %s -F raw %s 1M", secret, p.source);
	CHECK_INT(system(command), 0);
	p.image->format = FORMAT_QCOW2;
	p.image->size = MIB;
	CHECK_INT(ensure(&p), 0);
	int fd = open(p.disk, O_RDONLY | O_CLOEXEC);
	CHECK_INT(pread(fd, &byte, 1, 0), 1);
	CHECK(byte == 0);
	close(fd);
	tear_down(&p);
}

static void what_cant_be_is_refused(void)
{
	_cleanup_buf_ struct buf is = {0};
	struct place p;

	NEED_QEMU_IMG();
	set_up(&p);
	p.slice.disk_size = 5 * MIB;
	CHECK_INT(ensure(&p), -ENOSPC);
	CHECK_STR(why.text, "the image is a disk of 10M, and disk.size is 5M: "
			    "make it 10M at least");
	p.slice.disk_size = 20 * MIB;
	/* Somebody's data. */
	CHECK_INT(file_replace(AT_FDCWD, p.disk, "mine", 4, 0600), 0);
	CHECK_INT(ensure(&p), -EEXIST);
	CHECK(strstr(why.text, "\"wipe\""));
	CHECK_INT(file_read(AT_FDCWD, p.disk, 4096, &is), 0);
	CHECK_STR(is.data, "mine");
	CHECK_INT(unlink(p.disk), 0);
	/* No image in it, whatever its format says. */
	p.image->format = FORMAT_QCOW2;
	CHECK_INT(ensure(&p), -EIO);
	CHECK(strstr(why.text, "copying the image for"));
	CHECK(access(p.disk, F_OK) < 0);
	p.image->format = FORMAT_RAW;
	CHECK_INT(unlink(p.source), 0);
	CHECK_INT(ensure(&p), -ENOENT);
	CHECK(!leftovers(&p));
	CHECK_STR(installed(&p), "");
	tear_down(&p);
}

static void a_copy_is_broken_off(void)
{
	struct place p;

	NEED_QEMU_IMG();
	set_up(&p);
	p.slice.disk_format = FORMAT_QCOW2; /* no blocks to share */
	cancel_soon = true;
	CHECK_INT(ensure(&p), -ECANCELED);
	cancel_soon = false;
	CHECK(!leftovers(&p));
	CHECK(access(p.disk, F_OK) < 0);
	CHECK_STR(installed(&p), "");
	/* What a killed daemon left goes as well. */
	_cleanup_free_ char *old = xasprintf("%s.installing", p.disk);
	CHECK_INT(file_replace(AT_FDCWD, old, "old", 3, 0600), 0);
	CHECK_INT(ensure(&p), 0);
	CHECK(!leftovers(&p));
	tear_down(&p);
}

static const struct test_case cases[] = {
    CASE(an_answer_is_parsed),
    CASE(a_strange_answer_does_no_harm),
    CASE(the_top_of_a_closure),
    CASE(an_image_becomes_a_disk),
    CASE(formats_are_changed),
    CASE(nothing_behind_an_image_is_read),
    CASE(what_cant_be_is_refused),
    CASE(a_copy_is_broken_off),
};

int main(void)
{
	int rc;

	if (!mkdtemp(dir) || loop_new(&loop) < 0)
		return 1;
	rc = test_main(cases, ARRAY_SIZE(cases));
	remove_tree(AT_FDCWD, dir);
	loop_free(loop);
	return rc;
}
