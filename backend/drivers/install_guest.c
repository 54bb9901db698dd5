/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls of the drivers that install through a guest's session, and the
 * order of their steps.  The guest is asked first what the disk holds, under
 * its lock: so a copy that outlived its daemon is waited for, what is whole is
 * not copied again, and files that no install put there are never touched.
 *
 * looked at -> copied -> activated -> modules -> ESP -> boot mark; each step
 * may find that it has nothing to do; any may fail, and the next ensure begins
 * with a look again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "drivers/install_guest.h"

/* A copy that outlived its daemon is waited for. */
#define LOOK_TIMEOUT (1800 * USEC_PER_SEC)
#define SEAL_TIMEOUT (1800 * USEC_PER_SEC)

void install_log(struct install *in, const char *text)
{
	if (in->env->log)
		in->env->log(in->env->owner, text, strlen(text));
}

/* --- copies ------------------------------------------------------------ */

static void drop_slice(struct install *in)
{
	free(TAKE_PTR(in->root));
	free(TAKE_PTR(in->payload));
	free(TAKE_PTR(in->kernel));
	free(TAKE_PTR(in->initrd));
	free(TAKE_PTR(in->modules));
	free(TAKE_PTR(in->cmdline));
	free(TAKE_PTR(in->esp));
	free(TAKE_PTR(in->image));
	for (size_t i = 0; i < in->n_esp; i++)
		free(TAKE_PTR(in->esp_files[i].text));
	in->n_esp = in->esp_at = 0;
}

static void take_slice(struct install *in, const struct install_slice *s)
{
	drop_slice(in);
	in->ssh = s->guest;
	in->root = xstrdup(s->root);
	in->payload = xstrdup(s->payload_serial);
	in->kernel = xstrdup(s->kernel);
	in->initrd = xstrdup(s->initrd);
	in->modules = xstrdup(s->modules);
	in->cmdline = xstrdup(s->cmdline ? s->cmdline : "");
	in->esp = xstrdup(s->esp);
	in->firmware = s->firmware;
	if (s->image) {
		in->image = xmalloc(sizeof(*in->image));
		*in->image = *s->image;
	}
}

/* --- the end of an operation ------------------------------------------- */

void install_finish(struct install *in, int code)
{
	if (!op_end(&in->call, code))
		return;
	in->job = NULL;
	in->ssh = NULL;
	install_send_done(in);
}

static void on_cancel(struct op *op)
{
	struct install *in = op->driver_data;

	if (in->job) {
		ssh_job_cancel(in->job); /* its done ends the operation */
		return;
	}
	if (op_say_cancelled(&in->call))
		install_finish(in, -ECANCELED);
}

static int begin(struct install *in, const struct install_slice *slice,
    struct op *op, const install_step *steps, struct err *err)
{
	if (!slice->guest)
		return err_set(err, -EAGAIN, "no SSH session to this guest");
	take_slice(in, slice);
	op_begin(&in->call, op, on_cancel, in);
	in->copying = false;
	in->at = steps;
	install_next(in);
	return 0;
}

void install_next(struct install *in)
{
	if (*in->at)
		(*in->at++)(in);
	else
		install_finish(in, 0);
}

/* --- looking ----------------------------------------------------------- */

/* $0: the root.  The first file that is none of ours ends the search. */
static const char look_script[] =
    "own=$0" INSTALL_MARKS "\n"
    "for m in copied installed boot; do\n"
    "	[ ! -s \"$own/$m\" ] || echo \"$m $(head -c 64 \"$own/$m\")\"\n"
    "done\n"
    "while read -r dev dir type rest; do\n"
    "	case $dir in\n"
    "	\"${0:-/}\" | \"$0\"/*)\n"
    "		free=$(df -Pk \"$dir\" 2>/dev/null |\n"
    "			awk 'END { print $4 }')\n"
    "		echo \"mount $type ${free:-0} $dir\" ;;\n"
    "	esac\n"
    "done </proc/mounts\n"
    "if [ -e \"$own/begun\" ]; then\n"
    "	echo begun yes\n"
    "elif [ -n \"$0\" ]; then\n"
    "	f=$(find \"$0\" -xdev ! -type d 2>/dev/null | head -n 1)\n"
    "	[ -z \"$f\" ] || echo \"holds $f\"\n"
    "fi\n"
    "echo end\n";

static void take_look(struct install *in)
{
	struct install_facts facts = {0};

	if (install_facts_parse(buf_str(&in->out), &facts, &in->call.err) < 0) {
		install_facts_done(&facts);
		install_finish(in, -EIO);
		return;
	}
	install_facts_done(&in->facts);
	in->facts = facts;
	in->look = facts.look;
	install_next(in);
}

void install_first_look(struct install *in)
{
	char *args[] = {in->root, NULL};

	op_progress(in->call.op, -1, "looking at what is installed");
	install_run(in, &(struct install_run){
			    .what = xstrdup("look at what is installed"),
			    .script = look_script,
			    .args = args,
			    .timeout = LOOK_TIMEOUT,
			    .after = take_look,
			});
}

/* --- the seal ---------------------------------------------------------- */

/* $0: the root, $1: the digest. */
static const char seal_script[] =
    "own=$0" INSTALL_MARKS "\n"
    "[ \"$(cat \"$own/copied\")\" = \"$1\" ] || {\n"
    "	echo 'the files of this image are not whole there' >&2; exit 1; }\n"
    "sync && echo \"$1\" >\"$own/installed.new\" && sync &&\n"
    "mv -f \"$own/installed.new\" \"$own/installed\" && sync\n";

static void take_seal(struct install *in)
{
	snprintf(in->look.installed, sizeof(in->look.installed), "%s",
	    in->image->digest);
	install_next(in);
}

static void seal(struct install *in)
{
	char *args[] = {in->root, in->image->digest, NULL};

	op_progress(in->call.op, -1, "writing the mark that it is whole");
	install_run(in, &(struct install_run){
			    .what = xstrdup("mark the disk as installed"),
			    .script = seal_script,
			    .args = args,
			    .timeout = SEAL_TIMEOUT,
			    .after = take_seal,
			});
}

/* --- the driver's calls ------------------------------------------------ */

int install_guest_available(struct err *err)
{
	return 0; /* its tools are the guest's */
}

void install_guest_close(void *self)
{
	struct install *in = self;

	if (!in)
		return;
	install_send_done(in);
	op_slot_close(&in->call);
	drop_slice(in);
	install_facts_done(&in->facts);
	buf_done(&in->out);
	buf_done(&in->line);
	free(in->what);
	free(in);
}

int install_guest_open(const struct driver_env *env,
    const struct install_kind *kind, void **ret, struct err *err)
{
	struct install *in = xcalloc(1, sizeof(*in));
	int r;

	in->env = env;
	in->kind = kind;
	in->send.fd = -1;
	r = op_slot_open(&in->call, env->loop);
	if (r < 0) {
		install_guest_close(in);
		return err_errno(err, r, "%s", env->name);
	}
	*ret = in;
	return 0;
}

int install_guest_observe(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	static const install_step steps[] = {install_first_look, NULL};

	return begin(self, slice, op, steps, err);
}

void install_guest_look(void *self, struct install_look *ret)
{
	const struct install *in = self;

	*ret = in->look;
}

static int check_image(const struct install_slice *slice, struct err *err)
{
	const struct image_look *image = slice->image;

	if (!slice->root || !*slice->root)
		return err_set(err, -EINVAL,
		    "nothing is installed over the system that runs");
	if (!image || strlen(image->digest) != INSTALL_DIGEST - 1 ||
	    !image->source[0])
		return err_set(
		    err, -EINVAL, "the image to install isn't ready");
	if (slice->cmdline && strpbrk(slice->cmdline, "\n\r"))
		return err_set(err, -EINVAL,
		    "boot.cmdline: a kernel command line is one line");
	return 0;
}

int install_guest_ensure(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	struct install *in = self;
	int r = check_image(slice, err);

	return r < 0 ? r : begin(in, slice, op, in->kind->steps, err);
}

int install_guest_seal(void *self, const struct install_slice *slice,
    struct op *op, struct err *err)
{
	static const install_step steps[] = {seal, NULL};
	int r = check_image(slice, err);

	return r < 0 ? r : begin(self, slice, op, steps, err);
}
