/* SPDX-License-Identifier: Apache-2.0
 *
 * What boots an installed disk: kernel modules for a system that has none,
 * and for UEFI firmware the files of the ESP.  systemd-boot stands on the path
 * that firmware tries by itself, so no variable of the firmware is written and
 * the disk boots in any machine.  All of it is skipped when the mark on the
 * disk says that it was made from the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "drivers/install_guest.h"

/* Of Debian's systemd-boot-efi. */
#define LOADER "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
/* What a FAT takes beside the files' bytes: clusters, folders. */
#define ESP_SLACK (256 * KIB)

/* --- is it made already? ----------------------------------------------- */

static void put_file(struct buf *b, const char *path)
{
	struct stat st = {0};

	if (!path)
		return;
	if (stat(path, &st) < 0)
		st.st_size = -1;
	buf_printf(b, "%s %lld %lld.%09ld\n", path, (long long)st.st_size,
	    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void boot_digest(const struct install *in, char ret[INSTALL_BOOT_MAX])
{
	_cleanup_buf_ struct buf b = {0};

	buf_printf(&b, "%s\n%s\n%s\n%s\n%s\n", in->image->digest,
	    in->image->init, boot_firmware_name(in->firmware),
	    in->esp ? in->esp : "", in->cmdline);
	put_file(&b, in->kernel);
	put_file(&b, in->initrd);
	put_file(&b, in->modules);
	if (in->firmware == FIRMWARE_UEFI)
		put_file(&b, LOADER);
	snprintf(
	    ret, INSTALL_BOOT_MAX, "%016" PRIx64, hash_bytes(b.data, b.len));
}

bool install_is_made(const struct install *in)
{
	char digest[INSTALL_BOOT_MAX];

	boot_digest(in, digest);
	return STREQ(in->facts.boot, digest);
}

static const char mark_script[] =
    "own=$0" INSTALL_MARKS "\n"
    "sync && echo \"$1\" >\"$own/boot.new\" &&\n"
    "mv -f \"$own/boot.new\" \"$own/boot\" && sync\n";

static void after_mark(struct install *in)
{
	boot_digest(in, in->facts.boot);
	install_next(in);
}

void install_boot_mark(struct install *in)
{
	char digest[INSTALL_BOOT_MAX];
	char *args[] = {in->root, digest, NULL};

	if (install_is_made(in)) {
		install_next(in);
		return;
	}
	boot_digest(in, digest);
	install_run(in, &(struct install_run){
			    .what = xstrdup("mark the boot entry as made"),
			    .script = mark_script,
			    .args = args,
			    .timeout = INSTALL_STEP_TIMEOUT,
			    .after = after_mark,
			});
}

/* --- may it begin? -------------------------------------------------------- */

static char *esp_target(const struct install *in)
{
	return xasprintf("%s%s", in->root, in->esp);
}

static bool has_esp(const struct install *in)
{
	_cleanup_free_ char *target = in->esp ? esp_target(in) : NULL;

	for (size_t i = 0; target && i < in->facts.n_mounts; i++)
		if (STREQ(in->facts.mounts[i].target, target))
			return STREQ(in->facts.mounts[i].type, "vfat");
	return false;
}

int install_boot_check(const struct install *in, struct err *err)
{
	const char *const files[] = {in->kernel, in->initrd, in->modules};
	struct stat st;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		if (files[i])
			r = install_source(files[i], NULL, &st, err);
	if (r < 0 || in->firmware != FIRMWARE_UEFI)
		return r;
	if (!in->esp)
		return err_set(err, -EINVAL,
		    "boot.firmware uefi needs an EFI system partition: one "
		    "with flags [\"esp\"], filesystem vfat and a mount");
	if (!has_esp(in))
		return err_set(err, -EINVAL,
		    "no vfat file system is mounted at %s%s of the guest, and "
		    "boot.firmware uefi boots from there",
		    in->root, in->esp);
	if (stat(LOADER, &st) < 0)
		return err_errno(err, -errno,
		    "the boot loader for UEFI, %s (run: sudo apt-get install "
		    "systemd-boot-efi)",
		    LOADER);
	return 0;
}

/* --- modules ----------------------------------------------------------- */

/* $0: the root.  Where /lib is a link it goes to /usr/lib, and nowhere else:
 * a link of the image is not followed out of it. */
static const char modules_script[] =
    "to=$0; s=/run/rackfs-list.zstd\n"
    "[ ! -L \"$0/lib\" ] || to=$0/usr\n"
    "for d in \"$to\" \"$to/lib\" \"$to/lib/modules\"; do\n"
    "	[ ! -L \"$d\" ] || { echo \"$d is a link\" >&2; exit 1; }\n"
    "done\n"
    "{ zstd -dcq; echo $? >$s; } |\n"
    "	tar -xp --numeric-owner -f - -C \"$to\" || exit\n"
    "[ \"$(cat $s)\" = 0 ] || { echo 'cut off on the way' >&2; exit 1; }\n"
    "rm -f $s\n";

void install_modules(struct install *in)
{
	char *args[] = {in->root, NULL};

	if (!in->modules || install_is_made(in)) {
		install_next(in);
		return;
	}
	op_progress(in->call.op, 99, "kernel modules");
	install_run(in, &(struct install_run){
			    .what = xstrdup("kernel modules"),
			    .script = modules_script,
			    .args = args,
			    .source = in->modules,
			    .compress = true,
			    .timeout = INSTALL_STEP_TIMEOUT,
			    .after = install_next,
			});
}

/* --- the ESP ------------------------------------------------------------- */

/* $0: where, $1: its size.  No owners, no modes: it is a FAT.  The mark at the
 * end syncs; what takes the place of a file that boots does so at once. */
static const char put_script[] =
    "mkdir -p \"${0%/*}\" && cat >\"$0.new\" &&\n"
    "{ [ $(wc -c <\"$0.new\") -eq \"$1\" ] ||\n"
    "	{ echo 'cut off on the way' >&2; false; }; } &&\n"
    "{ [ ! -e \"$0\" ] || sync; } && mv -f \"$0.new\" \"$0\" && exit\n"
    "rm -f \"$0.new\"; exit 1\n";

static void put_next(struct install *in)
{
	const struct install_esp_file *f = &in->esp_files[in->esp_at];
	_cleanup_free_ char *target = NULL, *size = NULL;

	if (in->esp_at++ == in->n_esp) {
		install_next(in);
		return;
	}
	target = xasprintf("%s%s/%s", in->root, in->esp, f->name);
	size = xasprintf("%" PRIu64, f->size);
	char *args[] = {target, size, NULL};
	install_run(in, &(struct install_run){
			    .what = xasprintf("boot entry: %s", f->name),
			    .script = put_script,
			    .args = args,
			    .source = f->source,
			    .text = f->text,
			    .timeout = INSTALL_STEP_TIMEOUT,
			    .after = put_next,
			});
}

/* $0: the root, $1: the ESP there, $2: bytes that come, $3: the system's top,
 * $4: "own" to take its own kernel; $5...: files that come.  own_kernel() is
 * the kind's.  Says "initrd" when it put one there. */
static const char room_script[] =
    "root=$0 esp=$1 need=$2 top=$3 own=$4; shift 4\n"
    "view=/run/rackfs-view kernel= initrd=\n"
    "if [ -n \"$own\" ]; then\n"
    "	umount -l $view 2>/dev/null\n"
    "	trap 'umount -l $view' EXIT\n"
    "	mkdir -p $view && mount -o bind \"$root\" $view || exit\n"
    "	own_kernel $view \"$top\"\n"
    "	[ -f \"$kernel\" ] || {\n"
    "		echo 'the image has no kernel of its own' >&2; exit 1; }\n"
    "	need=$((need + $(wc -c <\"$kernel\")))\n"
    "	[ ! -f \"$initrd\" ] || need=$((need + $(wc -c <\"$initrd\")))\n"
    "	set -- rackfs/kernel rackfs/initrd \"$@\"\n"
    "fi\n"
    "has=$(df -Pk \"$esp\" | awk 'END { print $4 * 1024 }')\n"
    "for f; do\n"
    "	[ ! -f \"$esp/$f\" ] || has=$((has + $(wc -c <\"$esp/$f\")))\n"
    "done\n"
    "[ $has -ge $need ] || {\n"
    "	echo \"the EFI system partition has $((has / 1048576)) MiB free and "
    "\"\\\n"
    "		\"needs $((need / 1048576 + 1)): No space left on device\" "
    ">&2\n"
    "	exit 1; }\n"
    "[ -n \"$own\" ] || exit 0\n"
    "put() { cp \"$1\" \"$2.new\" && sync && mv -f \"$2.new\" \"$2\"; }\n"
    "mkdir -p \"$esp/rackfs\" && put \"$kernel\" \"$esp/rackfs/kernel\" || "
    "exit\n"
    "[ ! -f \"$initrd\" ] || {\n"
    "	put \"$initrd\" \"$esp/rackfs/initrd\" && echo initrd; } || exit\n"
    "sync\n";

static void add_file(
    struct install *in, const char *name, const char *source, char *text)
{
	struct install_esp_file *f = &in->esp_files[in->n_esp++];
	struct stat st = {0};

	*f = (struct install_esp_file){
	    .name = name, .source = source, .text = text};
	if (source && stat(source, &st) == 0)
		f->size = (uint64_t)st.st_size;
	else if (text)
		f->size = strlen(text);
}

/* The loader last: before it, the disk does not boot. */
static void add_loader(struct install *in, bool initrd)
{
	add_file(in, "loader/entries/rackfs.conf", NULL,
	    xasprintf("title rackfs\nlinux /rackfs/kernel\n%soptions %s\n",
		initrd ? "initrd /rackfs/initrd\n" : "", in->cmdline));
	add_file(in, "loader/loader.conf", NULL,
	    xstrdup("default rackfs.conf\ntimeout 0\neditor no\n"));
	add_file(in, "EFI/BOOT/BOOTX64.EFI", LOADER, NULL);
}

static void after_room(struct install *in)
{
	if (!in->kernel)
		add_loader(in, strstr(buf_str(&in->out), "initrd") != NULL);
	in->esp_at = 0;
	put_next(in);
}

static void make_room(struct install *in)
{
	_cleanup_free_ char *esp = esp_target(in), *size = NULL, *top = NULL;
	_cleanup_free_ char *script = NULL;
	_cleanup_strv_ char **args = NULL;
	uint64_t need = ESP_SLACK;

	top = install_top(in->image->init);
	for (size_t i = 0; i < in->n_esp; i++)
		need += in->esp_files[i].size;
	size = xasprintf("%" PRIu64, need);
	args = strv_new(
	    in->root, esp, size, top ? top : "", in->kernel ? "" : "own", NULL);
	for (size_t i = 0; i < in->n_esp; i++)
		strv_push(&args, in->esp_files[i].name);
	script = xasprintf("%s%s", in->kind->own_kernel, room_script);
	install_run(in, &(struct install_run){
			    .what = xstrdup("room on the ESP"),
			    .script = script,
			    .args = args,
			    .timeout = INSTALL_STEP_TIMEOUT,
			    .after = after_room,
			});
}

void install_esp(struct install *in)
{
	if (in->firmware != FIRMWARE_UEFI || install_is_made(in)) {
		install_next(in);
		return;
	}
	if (in->kernel) {
		add_file(in, "rackfs/kernel", in->kernel, NULL);
		if (in->initrd)
			add_file(in, "rackfs/initrd", in->initrd, NULL);
		add_loader(in, in->initrd != NULL);
	}
	op_progress(in->call.op, 99, "boot entry");
	make_room(in);
}
