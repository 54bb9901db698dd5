/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints the manual page rackfs(8), in the format of man(7), from the tables of
 * options and of files.
 */
#include <stdio.h>
#include "fs/files.h"
#include "fs/options.h"

/* Text in which roff(7) reads no command of its own. */
static void text(const char *s)
{
	bool line_begins = true;

	for (; *s; s++) {
		if (line_begins && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		line_begins = *s == '\n';
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else
			putchar(*s);
	}
}

static void option(const struct option_row *o)
{
	const char *between = "";

	puts(".TP");
	if (o->letter) {
		printf("\\fB\\-%c\\fR", o->letter);
		between = ", ";
	}
	if (o->name) {
		printf("%s\\fB\\-\\-", between);
		text(o->name);
		fputs("\\fR", stdout);
	}
	if (o->argument) {
		fputs(" \\fI", stdout);
		text(o->argument);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	text(o->help);
	puts(".");
}

static void rows(enum place place)
{
	for (size_t i = 0; i < n_files; i++) {
		const struct file *f = &files[i];
		_cleanup_buf_ struct buf path = {0};
		bool directory = f->kind == FILE_DIRECTORY;

		if (f->place != place || (directory && f->leads == PLACE_ROOT))
			continue;
		file_path(f, &path);
		printf(".TP\n\\fB");
		text(buf_str(&path));
		printf(
		    "%s\\fR (%04o)\n", directory ? "/" : "", (unsigned)f->mode);
		text(f->help);
		puts(".");
		if (f->writes) {
			fputs("A write: ", stdout);
			text(f->writes);
			puts(".");
		}
		if (directory)
			rows(f->leads);
	}
}

int main(void)
{
	puts(".TH RACKFS 8 \"\" \"rackfs\" \"System Administration\"\n"
	     ".SH NAME\n"
	     "rackfs \\- a rack of machines as files\n"
	     ".SH SYNOPSIS\n"
	     "\\fBrackfs\\fR [\\fIoptions\\fR] \\fIMOUNTPOINT\\fR\n.br\n"
	     "\\fBrackfs doctor\\fR\n"
	     ".SH DESCRIPTION\n"
	     "Mounts a tree in which every machine, network and image is a "
	     "directory.\nSpecs are written as JSON; state is read, and verbs "
	     "are written to it.\n"
	     "The mount point is made when it is missing.\n"
	     "rackfs returns when the tree can be used.\n"
	     ".PP\n"
	     "umount, \\fBfusermount3 \\-u\\fR, SIGTERM and SIGINT end it and "
	     "leave the machines\nrunning; the next start finds them "
	     "again.\nWriting \\fBdown\\fR to the tree's \\fBstate\\fR first "
	     "stops them.\n"
	     ".PP\n"
	     "\\fBrackfs doctor\\fR prints what this host can do, what is "
	     "missing, and the command\nthat mends it.\n"
	     ".SH OPTIONS");
	for (size_t i = 0; i < n_option_rows; i++)
		option(&option_rows[i]);
	puts(".SH FILES OF THE TREE");
	rows(PLACE_ROOT);
	puts(
	    ".SH OTHER FILES\n"
	    ".TP\n\\fBSTATE_DIR/daemon.log\\fR\n"
	    "What a daemon in the background has to say.\n"
	    ".TP\n\\fBRUNTIME_DIR/keeper.pid\\fR, "
	    "\\fBRUNTIME_DIR/daemon.pid\\fR\n"
	    "The process that holds the mount, and the one that serves it.\n"
	    ".SH SIGNALS\n"
	    "The keeper, whose process id a shell or systemd sees, takes:\n"
	    ".TP\n\\fBSIGTERM\\fR, \\fBSIGINT\\fR\n"
	    "Unmounts and ends; machines are left running.\n"
	    ".TP\n\\fBSIGHUP\\fR\n"
	    "Starts another daemon in place of the one that serves, from the "
	    "program as it is installed then. Open\nfiles, working "
	    "directories, watches and blocked reads go on, as they do when a "
	    "daemon dies.\n"
	    ".SH ENVIRONMENT\n"
	    ".TP\n\\fBRACKFS_DATA_DIR\\fR\n"
	    "Where the scripts are that build images, when not where they were "
	    "installed.\n"
	    ".TP\n\\fBXDG_STATE_HOME\\fR\n"
	    "See \\fB\\-\\-state\\-dir\\fR.\n"
	    ".SH EXIT STATUS\n"
	    "0: the tree can be used (in the foreground: it has ended in good "
	    "order); 1: it can not; 2: a wrong\noption.\n"
	    "\\fBdoctor\\fR: 1 when three machines could not be brought up.\n"
	    ".SH SEE ALSO\n"
	    "\\fBrackfs\\-spec\\fR(5), \\fBfusermount3\\fR(1), the README of "
	    "the tree");
	return 0;
}
