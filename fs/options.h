/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: one table of options, from which parsing, --help and the
 * man page come.
 */
#ifndef RACKFS_FS_OPTIONS_H
#define RACKFS_FS_OPTIONS_H

#include <stdio.h>
#include "err.h"
#include "log.h"

#ifndef RACKFS_VERSION
#define RACKFS_VERSION "0.1"
#endif

enum action { ACTION_MOUNT, ACTION_DOCTOR, ACTION_HELP, ACTION_VERSION };

struct options {
	enum action action;
	bool foreground;
	enum log_level log_level;
	const char *state_dir, *runtime_dir; /* borrowed from argv; or NULL */
	char *fuse; /* -o options joined by commas, or NULL; owned */
	const char *mountpoint;
};

struct option_row {
	char letter;          /* 0: none */
	const char *name;     /* without the dashes */
	const char *argument; /* NULL: none */
	const char *help;     /* lines */
	int (*set)(struct options *o, const char *value, struct err *err);
};
extern const struct option_row option_rows[];
extern const size_t n_option_rows;

int options_parse(int argc, char **argv, struct options *ret, struct err *err);
void options_done(struct options *o);
void options_help(FILE *out);

#endif
