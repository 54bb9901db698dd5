// SPDX-License-Identifier: Apache-2.0
/*
 * README of the tree: one page, made from the table of files.
 */
#include "fs/files.h"
#include "fs/text.h"

static const char head[] =
    "This is a rack of machines as files, served by rackfs.\n"
    "\n"
    "A spec is what is wanted, JSON; a write to it starts what it takes.  The\n"
    "other files show what is there.\n"
    "\n"
    "  mkdir nodes/node01                                make a machine\n"
    "  echo '{\"memory\":\"1G\"}' >> nodes/node01/spec    change a key of "
    "it\n"
    "  echo up > nodes/node01/state                      start it\n"
    "  cat wait/node01                                   wait until it is "
    "up\n"
    "  cat nodes/node01/error                            why it is not\n"
    "  ssh -F ssh_config node01                          log in\n"
    "  cat nodes/node01/console                          what it printed\n"
    "  watch cat status                                  all of them\n"
    "  echo down > state                                 stop everything\n"
    "\n"
    "No file waits for a machine but those in wait/: a tool that reads the\n"
    "whole tree stays there until all has settled.  To go on without:\n"
    "grep -r --exclude-dir=wait, or begin at nodes/.\n"
    "\n";

static const char tail[] =
    "\n"
    "A write to spec or disk replaces the document (>), or changes some of "
    "its\n"
    "keys (>>, a JSON merge patch).  It is taken whole or not at all; when it\n"
    "is refused, the file `error` beside it says why.\n"
    "States of a node: down, starting, booting, partitioning, installing,\n"
    "configuring, up, stopping, failed.  Verbs: up, down, off (pull the "
    "plug),\n"
    "reboot, reset, wipe (throw the content of its disk away; node down "
    "only).\n";

static void list(enum place place, struct text_table *t)
{
	for (size_t i = 0; i < n_files; i++) {
		const struct file *f = &files[i];
		_cleanup_buf_ struct buf path = {0};

		if (f->place != place || (!f->name && f->leads == place))
			continue;
		file_path(f, &path);
		if (f->kind == FILE_DIRECTORY)
			buf_putc(&path, '/');
		text_cell(t, buf_str(&path));
		text_cell(t, file_writable(f) ? "rw" : "r");
		text_cell(t, f->help);
		if (f->kind == FILE_DIRECTORY)
			list(f->leads, t);
	}
}

void render_readme(const struct render *r, struct buf *ret)
{
	struct text_table t = {.columns = 3};

	list(PLACE_ROOT, &t);
	buf_puts(ret, head);
	text_print(&t, ret);
	buf_puts(ret, tail);
}
