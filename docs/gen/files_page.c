/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints docs/FILES.md from the table of files (fs/files.c).
 */
#include <stdio.h>
#include "fs/files.h"

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
    "| unlink, rename, link, symlink, mknod, creat | EPERM (so `rm -r` "
    "destroys "
    "nothing) |\n"
    "| chmod, chown | EPERM, but for the mode and owner that it has |\n"
    "| utimensat | accepted without effect: times are those of the content |\n"
    "| truncate(2) | to 0 or to its own size: accepted without effect; else "
    "EINVAL. ftruncate(2) on a document cuts what is being written; longer "
    "than that: EINVAL |\n"
    "| extended attributes, ACLs | ENOTSUP |\n"
    "| locks | local to this host, advisory |\n"
    "| mmap | MAP_PRIVATE; MAP_SHARED gives ENODEV |\n"
    "\n"
    "poll(2): a text is always readable, and POLLPRI and POLLERR say that it\n"
    "has changed since it was read (as in sysfs); a growing text is readable\n"
    "when there is more than was read; a file that waits, when its read would\n"
    "not.\n"
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

static void row(const struct file *f)
{
	_cleanup_buf_ struct buf path = {0};
	bool directory = f->kind == FILE_DIRECTORY;

	file_path(f, &path);
	printf("| `%s%s` | %s0%o | ", buf_str(&path),
	    directory ? path.len ? "/" : "." : "", directory ? "d " : "",
	    (unsigned)f->mode);
	text(f->help);
	fputs(" | ", stdout);
	text(f->writes ? f->writes : "");
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
	puts("## Files\n\n| path | mode | a read gives | a write |\n"
	     "| --- | --- | --- | --- |");
	rows(PLACE_ROOT);
	puts("\n## How they behave\n");
	kinds();
	puts("## Errors\n");
	errors();
	puts(
	    "\nWhat was refused, and why, stands in the file `error` beside it "
	    "(that of the\nroot for mkdir and rmdir), and is an event.");
	return 0;
}
