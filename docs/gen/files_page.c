/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints docs/FILES.md from the table of files (fs/files.c).
 */
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include "fs/files.h"
#include "fs/scratch.h"
#include "fs/tombstone.h"

static const char about[] =
    "# Every file of the tree\n"
    "\n"
    "Made from the table in `fs/files.c`; `make docs` makes it anew.\n"
    "\n"
    "Files belong to the user who runs the daemon, and root may do what that\n"
    "user may; nobody, root included, can write a file that has no `w` in its\n"
    "mode (EACCES). A read gives one snapshot, taken at open and again by a\n"
    "read at offset 0 when something has changed since. `st_size` is that of\n"
    "the text as it is now, `mtime` is when it last changed.\n"
    "\n"
    "| operation | answer |\n"
    "| --- | --- |\n"
    "| mkdir, rmdir | in `networks/`, `images/`, `nodes/` they make and remove "
    "one; EPERM elsewhere. EINVAL: a bad name; EEXIST; EBUSY: it runs or is "
    "used; ENOTEMPTY: a disk holds data |\n"
    "| unlink, rename | of `spec`: its name is gone for a moment (below); of "
    "other files and of directories: EPERM (so `rm -r` destroys nothing) |\n"
    "| rename over a document | replaces it, whole or not at all (below); over "
    "another file: EPERM; over a document with RENAME_NOREPLACE: EEXIST. "
    "RENAME_EXCHANGE: EINVAL |\n"
    "| open with O_CREAT, symlink | a temporary file (below); EPERM in a "
    "directory that has no document |\n"
    "| link, mknod | EPERM |\n"
    "| open with O_EXCL and O_CREAT | EEXIST; a file that is there is never "
    "made anew |\n"
    "| O_TMPFILE, fallocate, reflinks | ENOTSUP |\n"
    "| chmod, chown | of a document: accepted without effect, since tools that "
    "copy set them; else EPERM, but for the mode and owner that it has |\n"
    "| stat, fstat | by the process that is writing a document: the size of "
    "what it has written so far (git asks before close(2)); by all others: "
    "of what is in force |\n"
    "| utimensat | accepted without effect: times are those of the content |\n"
    "| truncate(2) | to 0 or to its own size: accepted without effect; else "
    "EINVAL. ftruncate(2) on a document cuts what is being written; longer "
    "than that: EINVAL |\n"
    "| extended attributes, ACLs | ENOTSUP |\n"
    "| locks | local to this host, advisory |\n"
    "| mmap | MAP_PRIVATE; MAP_SHARED since Linux 6.6, before that ENODEV. A "
    "map shows the text as it was when it was made; one that is written is a "
    "transaction of its descriptor |\n"
    "| copy_file_range, sendfile, splice | as read and write |\n"
    "| statvfs (`df`) | the room that temporary files have, all and left |\n"
    "| fsync, fdatasync | of a document: as close(2), and the errno is heard; "
    "else nothing to do |\n"
    "\n"
    "inotify(7): the last columns say which events a change made by the\n"
    "daemon raises (and IN_OPEN); many changes within 5 ms are one. What\n"
    "programs do themselves is told as on any file system.\n"
    "\n"
    "poll(2): a text is always readable (IN), and PRI with ERR say that it\n"
    "has changed since it was read (as in sysfs); a growing text is readable\n"
    "when there is more than was read; a file that waits, when its read would\n"
    "not. OUT is for descriptors that may write. ERR with HUP: it was\n"
    "removed.\n"
    "\n";

static const char scratch[] =
    "## Temporary files\n"
    "\n"
    "Editors and tools write a file beside the one that they change, and put\n"
    "it in its place. So in a directory that holds a document any name that\n"
    "the tree does not have can be made: a file or a symbolic link, read,\n"
    "written, cut, mapped, renamed, given a mode, owner and times as\n"
    "anywhere. It lives in memory, outlives the daemon (not the mount), is\n"
    "listed, is never parsed and never counts as configuration. rmdir of a\n"
    "node, network or image takes its temporary files along. A name is any\n"
    "bytes, %d of them at most.\n"
    "\n"
    "| limit | beyond it |\n"
    "| --- | --- |\n"
    "| %d in a directory | ENOSPC |\n"
    "| %llu MiB each | EFBIG |\n"
    "| %llu MiB in all | ENOSPC |\n"
    "\n";

static const char in_place[] =
    "**Renamed over a document** (`sed -i`, `perl -pi`, `rsync`) it becomes\n"
    "the document: checked, on disk and in force before rename(2) answers.\n"
    "When it is refused, the errno is that of a write, both files stay as\n"
    "they were, and `error` says why. An empty file or a link: EINVAL. As on\n"
    "other file systems, one who watches the file itself loses it, and one\n"
    "who watches its directory sees MOVED_TO. Who has the temporary file\n"
    "still open writes to a file without a name.\n"
    "\n"
    "**`spec` may go for a moment** (`mv`, `install`, `git checkout`, an\n"
    "editor's backup): unlink takes its name away, not the configuration. A\n"
    "file of that name that is made within %llu s is a write as with `>`;\n"
    "else the name is back then, with its content. A rename of `spec` to a\n"
    "free name, or to that of a temporary file, does the same and leaves a\n"
    "copy under the new name. After a crash of the daemon the time begins\n"
    "anew.\n"
    "\n";

static const char growing[] =
    "A read gives what is there and then EOF; `tail -f` and poll(2) follow. "
    "Of a text that became too long the oldest bytes are given back: offsets "
    "stay, a read at 0 starts at the oldest byte kept.";

static const char document[] =
    "A write is a transaction of its descriptor: gathered, checked in full "
    "and made ready on disk in the write(2) that completes the document, in "
    "force at close(2) or fsync(2), whole or not at all. `: >` alone changes "
    "nothing. Half a document at the last close is dropped.";

static const char console[] =
    "Opened for reading it gives the run that is on, or the last one, from "
    "the oldest byte kept, then EOF. Opened for writing it is a keyboard. "
    "Opened for both it is a terminal: it starts at the end, blocks for more, "
    "and cannot seek.";

static const char *kind_about(enum file_kind kind)
{
	switch (kind) {
	case FILE_DOCUMENT:
		return document;
	case FILE_STREAM:
		return growing;
	case FILE_CONSOLE:
		return console;
	case FILE_WAIT:
		return "After the answer the next read is EOF; a read at 0 "
		       "waits anew. Any number may read.";
	case FILE_DIRECTORY:
	case FILE_TEXT:
	case FILE_SCRATCH:
	case FILE_KINDS:
		break;
	}
	return NULL;
}

/* '|' would end a cell, '<' begin a tag. */
static void text(const char *s)
{
	for (; *s; s++) {
		if (*s == '|' || *s == '<')
			putchar('\\');
		putchar(*s);
	}
}

struct bit {
	unsigned bit;
	const char *name;
};

static void bits(const struct bit *b, size_t n, unsigned value)
{
	const char *between = "";

	for (size_t i = 0; i < n; i++) {
		if (!(value & b[i].bit))
			continue;
		printf("%s%s", between, b[i].name);
		between = ", ";
	}
}

static void watched(const struct file *f)
{
	static const struct bit inotify[] = {{IN_CREATE, "CREATE"},
	    {IN_DELETE, "DELETE"}, {IN_MODIFY, "MODIFY"},
	    {IN_CLOSE_WRITE, "CLOSE_WRITE"}};
	static const struct bit poll[] = {{POLLIN, "IN"}, {POLLPRI, "PRI"},
	    {POLLERR, "ERR"}, {POLLOUT, "OUT"}};

	bits(inotify, ARRAY_SIZE(inotify), file_inotify(f));
	fputs(" | ", stdout);
	bits(poll, ARRAY_SIZE(poll), file_poll(f));
}

/* The names alone, of "EINVAL: not JSON; EIO". */
static void error_names(const struct file *f)
{
	const char *between = "", *s = f->errors ? f->errors : "";

	if (f->kind != FILE_DIRECTORY && !file_writable(f)) {
		fputs("EACCES", stdout);
		between = ", ";
	}
	while (*s) {
		size_t n = 0;

		while (isalnum((unsigned char)s[n]) || s[n] == '_')
			n++;
		if (n > 2 && s[0] == 'E' && isupper((unsigned char)s[1]) &&
		    isupper((unsigned char)s[2])) {
			printf("%s%.*s", between, (int)n, s);
			between = ", ";
		}
		s += MAX(n, 1U);
	}
}

static void row(const struct file *f)
{
	_cleanup_buf_ struct buf path = {0};
	bool directory = f->kind == FILE_DIRECTORY;

	file_path(f, &path);
	printf("| `%s%s` | %s0%o | ", buf_str(&path),
	    directory ? path.len ? "/" : "." : "", directory ? "d " : "",
	    (unsigned)f->mode);
	text(f->help);
	if (f->timed)
		fputs(
		    "; time changes it as well, which no event tells", stdout);
	fputs(" | ", stdout);
	text(f->writes ? f->writes : "");
	fputs(" | ", stdout);
	error_names(f);
	fputs(" | ", stdout);
	watched(f);
	puts(" |");
}

static void rows(enum place place)
{
	for (size_t i = 0; i < n_files; i++) {
		const struct file *f = &files[i];
		bool root = f->kind == FILE_DIRECTORY && f->leads == PLACE_ROOT;

		if (f->place != place || root)
			continue;
		row(f);
		if (f->kind == FILE_DIRECTORY)
			rows(f->leads);
	}
}

/* What is the same for several files is said once. */
static void kinds(void)
{
	for (int k = 0; k < FILE_KINDS; k++) {
		const char *sentence = kind_about((enum file_kind)k);
		bool first = true;

		if (!sentence)
			continue;
		for (size_t i = 0; i < n_files; i++) {
			_cleanup_buf_ struct buf path = {0};

			if (files[i].kind != (enum file_kind)k)
				continue;
			file_path(&files[i], &path);
			printf("%s`%s`", first ? "**" : ", ", buf_str(&path));
			first = false;
		}
		printf("**\n\n%s\n\n", sentence);
	}
}

static void errors(void)
{
	puts("| file | errors |\n| --- | --- |");
	for (size_t i = 0; i < n_files; i++) {
		_cleanup_buf_ struct buf path = {0};

		if (!files[i].errors)
			continue;
		file_path(&files[i], &path);
		printf("| `%s` | ", buf_str(&path));
		text(files[i].errors);
		puts(" |");
	}
}

int main(void)
{
	fputs(about, stdout);
	printf(scratch, SCRATCH_NAME_MAX, SCRATCH_FILES_MAX,
	    SCRATCH_SIZE_MAX / MIB, KEPT_TEXT_LIMIT / MIB);
	printf(in_place, TOMBSTONE_USEC / USEC_PER_SEC);
	puts("## Files\n\n| path | mode | a read gives | a write | errors | "
	     "inotify | poll |\n"
	     "| --- | --- | --- | --- | --- | --- | --- |");
	rows(PLACE_ROOT);
	puts("\n## How they behave\n");
	kinds();
	puts("## Errors\n\nEACCES: it was opened for writing, and nobody "
	     "may write it.\n");
	errors();
	puts(
	    "\nWhat was refused, and why, stands in the file `error` beside it "
	    "(that of the\nroot for mkdir and rmdir), and is an event.");
	return 0;
}
