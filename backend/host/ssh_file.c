/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a file of a guest by a small shell command that gets the bytes on
 * its stdin: what a POSIX shell and busybox both have is enough.  No value is
 * part of the script; they are its arguments.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "host/ssh_internal.h"

/* A connection that ends early gives an end of file, so the size is checked.
 * chown comes first: it takes set-id bits away.  -C: never write through a
 * link that somebody has put there. */
static const char script[] =
    "umask 077; set -C; "
    "if [ -d \"$1\" ]; then echo \"$1 is a folder\" >&2; exit 1; fi; "
    "if cat >\"$2\" && "
    "{ [ $(wc -c <\"$2\") -eq \"$3\" ] || "
    "{ echo \"cut off on the way\" >&2; false; }; } && "
    "{ [ -z \"$5\" ] || chown \"$5\" \"$2\"; } && "
    "chmod \"$4\" \"$2\" && mv -f \"$2\" \"$1\"; "
    "then exit 0; fi; rm -f \"$2\"; exit 1";

struct write_file {
	void (*done)(int code, const struct err *err, void *userdata);
	void *userdata;
	char path[];
};

static void on_done(int code, int status, const char *out, size_t out_len,
    const char *errout, const struct err *err, void *userdata)
{
	struct write_file *w = userdata;
	struct err e = *err;

	if (code)
		err_prefix(&e, "%s was not written: ", w->path);
	else if (status)
		code = err_set(&e, -EIO, "%s was not written: %s", w->path,
		    *errout ? errout : "the guest doesn't say why");
	if (w->done)
		w->done(code, &e, w->userdata);
}

int ssh_write_file(struct ssh *s, const char *path, const void *data,
    size_t len, mode_t mode, const char *owner,
    void (*done)(int code, const struct err *err, void *userdata),
    void *userdata, struct ssh_job **ret, struct err *err)
{
	_cleanup_free_ struct write_file *w = NULL;
	_cleanup_strv_ char **argv = NULL;
	struct ssh_job *j;
	uint64_t r;
	int rc;

	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return err_set(err, -EINVAL,
		    "%s: the path of a guest's file begins with a slash", path);
	argv = strv_new("sh", "-c", script, "sh", path, NULL);
	random_bytes(&r, sizeof(r));
	strv_pushf(&argv, "%s.rackfs-%016llx", path, (unsigned long long)r);
	strv_pushf(&argv, "%zu", len);
	strv_pushf(&argv, "%04o", (unsigned)mode & 07777);
	strv_push(&argv, owner ? owner : "");
	w = xcalloc(1, sizeof(*w) + strlen(path) + 1);
	w->done = done;
	w->userdata = userdata;
	memcpy(w->path, path, strlen(path) + 1);
	rc = ssh_run(s,
	    &(struct ssh_run){
		.argv = argv,
		.input = data,
		.input_len = len,
		.lock = true,
		.done = on_done,
		.userdata = w,
	    },
	    &j, err);
	if (rc)
		return rc;
	/* done comes on this thread, and frees it with the job. */
	j->owned = TAKE_PTR(w);
	if (ret)
		*ret = j;
	return 0;
}
