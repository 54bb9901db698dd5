// SPDX-License-Identifier: Apache-2.0
/*
 * The command line.  main.c parses with it; docs/gen/man_page.c prints it.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include "fs/options.h"

#define OPTIONS_MAX 32

static int set_foreground(struct options *o, const char *value, struct err *err)
{
	o->foreground = true;
	return 0;
}

static int set_state_dir(struct options *o, const char *value, struct err *err)
{
	o->state_dir = value;
	return 0;
}

static int set_runtime_dir(
    struct options *o, const char *value, struct err *err)
{
	o->runtime_dir = value;
	return 0;
}

/* What libfuse takes and then does not let the daemon serve. */
static bool has_max_read(const char *list)
{
	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (strncmp(list, "max_read=", strlen("max_read=")) == 0)
			return true;
	}
	return false;
}

static int add_fuse(struct options *o, const char *value, struct err *err)
{
	if (has_max_read(value))
		return err_set(err, -EINVAL,
		    "-o %s: rackfs chooses max_read itself; leave it out",
		    value);
	char *joined =
	    o->fuse ? xasprintf("%s,%s", o->fuse, value) : xstrdup(value);

	free(o->fuse);
	o->fuse = joined;
	return 0;
}

static int set_log_level(struct options *o, const char *value, struct err *err)
{
	_cleanup_buf_ struct buf names = {0};

	if (log_level_parse(value, &o->log_level) == 0)
		return 0;
	for (int i = 0; i < LOG_LEVELS; i++)
		buf_printf(&names, "%s%s", i ? ", " : "", log_level_name(i));
	return err_set(err, -EINVAL, "--log-level: %s is none of %s", value,
	    buf_str(&names));
}

static int set_help(struct options *o, const char *value, struct err *err)
{
	o->action = ACTION_HELP;
	return 0;
}

static int set_version(struct options *o, const char *value, struct err *err)
{
	o->action = ACTION_VERSION;
	return 0;
}

const struct option_row option_rows[] = {
    {'f', "foreground", NULL, "stay in the foreground, log to stderr",
	set_foreground},
    {'s', "state-dir", "DIR",
	"specs, disks, images, keys, logs, events\n"
	"(root: /var/lib/rackfs, else $XDG_STATE_HOME/rackfs\n"
	"or ~/.local/state/rackfs)",
	set_state_dir},
    {'r', "runtime-dir", "DIR",
	"sockets, process records (root: /run/rackfs, else\n"
	"and with --state-dir: STATE_DIR/run); made new when\n"
	"the host was started again",
	set_runtime_dir},
    {'o', NULL, "OPT[,OPT...]", "FUSE options (allow_other, ...)", add_fuse},
    {0, "log-level", "LEVEL", "error, warn, notice or debug", set_log_level},
    {'h', "help", NULL, "this text", set_help},
    {'V', "version", NULL, "the version", set_version},
};
const size_t n_option_rows = ARRAY_SIZE(option_rows);
static_assert(ARRAY_SIZE(option_rows) <= OPTIONS_MAX, "they fit");

/* What getopt_long(3) gives for row i that has no letter. */
static int code_of(size_t i)
{
	return option_rows[i].letter ? option_rows[i].letter : 256 + (int)i;
}

static void to_getopt(
    char letters[3 * OPTIONS_MAX], struct option longs[OPTIONS_MAX + 1])
{
	size_t n = 0;

	*letters++ = ':'; /* a missing argument is told apart */
	for (size_t i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];

		if (row->letter) {
			*letters++ = row->letter;
			if (row->argument)
				*letters++ = ':';
		}
		if (row->name)
			longs[n++] = (struct option){row->name,
			    row->argument ? required_argument : no_argument,
			    NULL, code_of(i)};
	}
	*letters = '\0';
	longs[n] = (struct option){0};
}

static int set(struct options *o, int code, char **argv, struct err *err)
{
	for (size_t i = 0; i < n_option_rows; i++) {
		if (code_of(i) == code)
			return option_rows[i].set(o, optarg, err);
	}
	return err_set(err, -EINVAL,
	    code == ':' ? "%s wants an argument"
			: "there is no option %s; --help lists them",
	    argv[optind - 1]);
}

static int operands(struct options *o, int argc, char **argv, struct err *err)
{
	if (o->action != ACTION_MOUNT)
		return 0;
	if (argc - optind == 1 && STREQ(argv[optind], "doctor")) {
		o->action = ACTION_DOCTOR;
		return 0;
	}
	if (argc - optind < 1)
		return err_set(err, -EINVAL,
		    "where to? usage: rackfs [options] MOUNTPOINT, or rackfs "
		    "doctor; --help tells more");
	if (argc - optind > 1)
		return err_set(err, -EINVAL, "%s: one MOUNTPOINT is enough",
		    argv[optind + 1]);
	o->mountpoint = argv[optind];
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	struct option longs[OPTIONS_MAX + 1];
	char letters[3 * OPTIONS_MAX];
	struct options o = {.log_level = LOG_NOTICE};
	int code, r = 0;

	to_getopt(letters, longs);
	opterr = 0;
	while (r == 0 &&
	       (code = getopt_long(argc, argv, letters, longs, NULL)) != -1)
		r = set(&o, code, argv, err);
	if (r == 0)
		r = operands(&o, argc, argv, err);
	if (r < 0) {
		options_done(&o);
		return r;
	}
	*ret = o;
	return 0;
}

void options_done(struct options *o)
{
	free(o->fuse);
	o->fuse = NULL;
}

static void help_row(FILE *out, const struct option_row *row)
{
	_cleanup_buf_ struct buf left = {0};
	const char *line = row->help, *end;

	if (row->letter)
		buf_printf(&left, "  -%c%s", row->letter, row->name ? "," : "");
	else
		buf_puts(&left, "     ");
	if (row->name)
		buf_printf(&left, " --%s", row->name);
	if (row->argument)
		buf_printf(&left, " %s", row->argument);
	for (; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		fprintf(out, "%-28s %.*s\n", buf_str(&left), (int)(end - line),
		    line);
		buf_clear(&left);
	}
}

void options_help(FILE *out)
{
	fputs("rackfs: a rack of machines as files\n\n"
	      "rackfs [options] MOUNTPOINT  mount the tree there\n",
	    out);
	for (size_t i = 0; i < n_option_rows; i++)
		help_row(out, &option_rows[i]);
	fputs("\nrackfs doctor                what this host can do, what is\n"
	      "                             missing, and the command that "
	      "mends it\n\n"
	      "umount, fusermount3 -u, SIGTERM and SIGINT end it and leave the "
	      "machines running;\n"
	      "`echo down > MOUNTPOINT/state` first stops them.  "
	      "MOUNTPOINT/README explains the tree.\n",
	    out);
}
