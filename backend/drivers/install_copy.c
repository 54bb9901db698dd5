/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacks an image's tar onto the mounted disk: from a read-only disk that
 * has it, or streamed as zstd.  What an earlier try has left is thrown away
 * first; files that no install put there refuse it.  Nothing counts before the
 * archive was read to its end, its entries were found again on the disk, and
 * all is synced.
 *
 * tar works in a view of the disk without its vfat mounts: an ESP can hold
 * neither links nor owners, and what boots is put there later.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "drivers/install_guest.h"

/* At least so long, and so many bytes a second. */
#define COPY_TIMEOUT (1800 * USEC_PER_SEC)
#define COPY_RATE    (128 * KIB)

/* $0: the root, $1: digest, $2: bytes of the tar, $3: options of tar, $4:
 * serial of the disk that has it, or "".  stdin: else, as zstd. */
static const char copy_script[] =
    "root=$0 digest=$1 size=$2 options=$3 serial=$4\n"
    "own=$root" INSTALL_MARKS " view=/run/rackfs-view list=/run/rackfs-list\n"
    "fail() { echo \"$*\" >&2; exit 1; }\n"
    /* It goes on when nobody listens any more: whoever comes next waits for
     * the lock, and finds what was copied. */
    "trap '' PIPE\n"
    /* All of a folder but one name. */
    "clear() {\n"
    "	[ ! -L \"$1\" ] || return\n"
    "	for f in \"$1\"/* \"$1\"/.[!.]* \"$1\"/..?*; do\n"
    "		[ \"${f##*/}\" = \"$2\" ] || rm -rf \"$f\" 2>/dev/null\n"
    "	done; }\n"
    "trap 'umount -l $view; rm -f $list*' EXIT\n"
    "umount -l $view 2>/dev/null\n"
    "mkdir -p $view && mount -o bind \"$root\" $view || exit\n"
    /* Ours from here on. */
    "again=; [ ! -e \"$own/begun\" ] || again=y\n"
    "mkdir -p \"$own\" && rm -f \"$own\"/copied \"$own\"/boot &&\n"
    "echo \"$digest\" >\"$own/begun\" && sync || exit\n"
    "if [ -n \"$again\" ]; then\n"
    "	echo clearing\n"
    "	clear $view var\n"
    "	clear $view/var lib\n"
    "	clear $view/var/lib rackfs\n"
    "	clear $view" INSTALL_MARKS " begun\n"
    "	left=$(find $view -xdev ! -type d ! -path \"*" INSTALL_MARKS
    "/begun\" | head -n 1)\n"
    "	[ -z \"$left\" ] || fail \"$left can't be removed\"\n"
    "fi\n"
    "mounts=$(cat /proc/mounts)\n"
    "while read -r dev dir type rest; do\n"
    "	case $dir in \"$root\"/*)\n"
    "		[ \"$type\" = vfat ] ||\n"
    "			mount -o bind \"$dir\" \"$view${dir#\"$root\"}\" ||\n"
    "			exit ;;\n"
    "	esac\n"
    "done <<X\n$mounts\nX\n"
    /* File capabilities; busybox's tar knows none. */
    "x=; tar --version 2>/dev/null | grep -q GNU &&\n"
    "	x='--xattrs --xattrs-include=*'\n"
    "unpack() { tar -xpv $options $x -f - -C $view >$list; }\n"
    /* tar calls the last bytes that found room a short write. */
    "failed() {\n"
    "	awk -v v=$view '$2 == v || index($2, v \"/\") == 1 { print $2 }' \\\n"
    "		/proc/mounts | while read -r m; do\n"
    "		[ $(df -Pk \"$m\" | awk 'END { print $4 }') -ge 64 ] ||\n"
    "			echo \"${m#$view}/: No space left on device\" >&2\n"
    "	done\n"
    "	exit $1; }\n"
    "if [ -n \"$serial\" ]; then\n"
    "	dev=\n"
    "	for d in /sys/block/*; do\n"
    "		[ \"$(cat \"$d/serial\" 2>/dev/null)\" != \"$serial\" ] ||\n"
    "			dev=${d##*/}\n"
    "	done\n"
    "	[ -n \"$dev\" ] || fail \"no disk has the serial $serial\"\n"
    "	has=$(($(cat \"/sys/block/$dev/size\") * 512))\n"
    "	[ $has -ge $size ] ||\n"
    "		fail \"/dev/$dev has $has bytes, the image $size\"\n"
    "	unpack <\"/dev/$dev\" & pid=$!\n"
    "	while sleep 0.5; do\n"
    "		sed -n 's/^pos:[^0-9]*/at /p' /proc/$pid/fdinfo/0\n"
    "	done 2>/dev/null & report=$!\n"
    "	wait $pid; status=$?\n"
    "	kill $report\n"
    "	[ $status = 0 ] || failed $status\n"
    "	echo \"at $size\"\n"
    "else\n"
    "	{ zstd -dcq; echo $? >$list.zstd; } | unpack || failed $?\n"
    "	[ \"$(cat $list.zstd)\" = 0 ] ||\n"
    "		fail 'the archive was cut off on its way'\n"
    "fi\n"
    "echo syncing\n"
    "sync || exit\n"
    "listed=$(sort -u $list | wc -l) found=$(find $view | wc -l)\n"
    "[ $listed -gt 0 ] || fail 'the archive is empty'\n"
    "[ $found -ge $listed ] ||\n"
    "	fail \"of $listed entries only $found are on the disk\"\n"
    "echo \"$listed entries\"\n"
    "mkdir -p \"$own\" && echo \"$digest\" >\"$own/copied.new\" && sync &&\n"
    "mv -f \"$own/copied.new\" \"$own/copied\" && sync\n";

/* --- may it begin? -------------------------------------------------------- */

static bool is_whole(const struct install *in)
{
	const char *digest = in->image->digest;

	return STREQ(in->facts.look.copied, digest) ||
	       STREQ(in->facts.look.installed, digest);
}

static int check_room(const struct install *in, struct err *err)
{
	uint64_t need = MAX(in->image->size, in->size), room = 0;
	bool mounted = false;
	char is[24], wants[24];

	for (size_t i = 0; i < in->facts.n_mounts; i++) {
		const struct install_mount *m = &in->facts.mounts[i];

		mounted |= STREQ(m->target, in->root);
		if (!STREQ(m->type, "vfat"))
			room += m->free;
	}
	if (!mounted)
		return err_set(err, -ENODEV,
		    "nothing is mounted at %s of the guest: an install needs "
		    "a partition with the mount \"/\"",
		    in->root);
	/* What an earlier try has left is not known, and goes. */
	if (room >= need || in->facts.begun)
		return 0;
	format_size(room / MIB * MIB, is);
	format_size((need + MIB - 1) / MIB * MIB, wants);
	return err_set(err, -ENOSPC,
	    "the image needs %s at least, the disk has %s free: make disk.size "
	    "or the partition larger",
	    wants, is);
}

static int check(const struct install *in, struct err *err)
{
	const struct install_facts *f = &in->facts;
	int r = install_boot_check(in, err);

	if (r == 0 && in->kind->check)
		r = in->kind->check(in, err);
	if (r < 0 || is_whole(in))
		return r;
	if (f->look.installed[0])
		return err_set(err, -EEXIST,
		    "another image (%.12s) is installed there; nothing was "
		    "written; to throw it away, stop the node and write "
		    "\"wipe\" to its state",
		    f->look.installed);
	if (!f->begun && f->holds)
		return err_set(err, -EEXIST,
		    "the disk holds files that no install put there (%s); "
		    "nothing was written; to throw them away, stop the node "
		    "and write \"wipe\" to its state",
		    f->holds);
	return check_room(in, err);
}

/* --- progress ---------------------------------------------------------- */

static void tell(struct install *in, uint64_t at)
{
	at = MIN(at, in->size);
	op_progress(in->call.op, (int)MIN(at * 100 / in->size, (uint64_t)99),
	    "copying: %" PRIu64 " of %" PRIu64 " MB", at / 1000000,
	    (in->size + 999999) / 1000000);
}

static void take_line(struct install *in, const char *line)
{
	uint64_t at;

	if (sscanf(line, "at %18" SCNu64, &at) == 1)
		tell(in, at);
	else if (STREQ(line, "syncing"))
		op_progress(in->call.op, 99, "copying: writing it out");
	else if (STREQ(line, "clearing"))
		op_progress(in->call.op, 0,
		    "removing what an install that was cut off has left");
}

static void on_output(struct install *in, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n') {
			if (in->line.len < 64)
				buf_putc(&in->line, data[i]);
			continue;
		}
		take_line(in, buf_str(&in->line));
		buf_clear(&in->line);
	}
}

/* --- the step ---------------------------------------------------------- */

static void after_copy(struct install *in)
{
	snprintf(
	    in->look.copied, sizeof(in->look.copied), "%s", in->image->digest);
	in->facts.boot[0] = 0;
	in->copying = false;
	install_next(in);
}

static void start(struct install *in)
{
	_cleanup_free_ char *size = xasprintf("%" PRIu64, in->size);
	char *args[] = {in->root, in->image->digest, size,
	    (char *)in->kind->owner, in->payload ? in->payload : (char *)"",
	    NULL};

	buf_clear(&in->line);
	in->copying = true;
	op_progress(in->call.op, 0, "copying");
	install_run(in,
	    &(struct install_run){
		.what = xasprintf("copying"),
		.script = copy_script,
		.args = args,
		.source = in->payload ? NULL : in->image->source,
		.compress = true,
		.timeout = COPY_TIMEOUT + in->size / COPY_RATE * USEC_PER_SEC,
		.output = on_output,
		.after = after_copy,
	    });
}

void install_copy(struct install *in)
{
	struct stat st;
	int r = install_source(in->image->source, NULL, &st, &in->call.err);

	if (r == 0 && st.st_size == 0)
		r = err_set(
		    &in->call.err, -EINVAL, "%s is empty", in->image->source);
	if (r == 0) {
		in->size = (uint64_t)st.st_size;
		r = check(in, &in->call.err);
	}
	if (r < 0)
		install_finish(in, r);
	else if (is_whole(in))
		install_next(in);
	else
		start(in);
}
