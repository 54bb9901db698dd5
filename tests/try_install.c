/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs an install driver by hand or from tests/vm/, against a guest that
 * answers SSH: try_install KEY=VALUE... .  Prints what the driver tells, with
 * the seconds since its start; exit status 0, or 1 with "error CODE: ...".
 *
 *   kind=rootfs|closure|disk  do=observe,ensure,seal
 *   port= user= key= host_key=   the guest, on 127.0.0.1
 *   root= source= size= digest=LETTER init= registration= payload= kernel=
 * initrd= modules= cmdline= esp= uefi=1 disk= disk_size= format= seed=
 *   cancel=PERCENT               at the first progress that is so far
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"
#include "host/ssh.h"

static struct loop *loop;
static uint64_t began;
static char *const *words;
static struct ssh *session;
static bool connected, ended;
static int result;
static struct op op;

static const char *word(const char *key, const char *fallback)
{
	size_t n = strlen(key);

	for (char *const *w = words; *w; w++)
		if (strncmp(*w, key, n) == 0 && (*w)[n] == '=')
			return *w + n + 1;
	return fallback;
}

static uint64_t number(const char *key, uint64_t fallback)
{
	const char *s = word(key, NULL);

	return s ? strtoull(s, NULL, 10) : fallback;
}

static double seconds(void)
{
	return (double)(now_mono() - began) / USEC_PER_SEC;
}

static void on_connected(
    struct ssh *s, int code, const struct err *err, void *userdata)
{
	connected = true;
	result = code;
	if (code)
		printf("error %s: %s\n", strerrorname_np(-code), err->text);
}

static void on_closed(struct ssh *s, const struct err *err, void *userdata)
{
	printf("%.1f the session broke: %s\n", seconds(), err->text);
}

static void on_log(void *owner, const char *text, size_t len)
{
	printf(
	    "%.*s%s", (int)len, text, len && text[len - 1] == '\n' ? "" : "\n");
}

static void on_progress(struct op *o, int percent, const char *text)
{
	printf("%.1f %d%% %s\n", seconds(), percent, text);
	fflush(stdout);
	if (percent >= 0 && (uint64_t)percent >= number("cancel", 1000))
		op_cancel(o);
}

static void on_done(struct op *o, int code, const struct err *err)
{
	ended = true;
	result = code;
	if (code)
		printf("error %s: %s\n", strerrorname_np(-code), err->text);
}

static int connect_guest(void)
{
	const struct ssh_target t = {
	    .host = "127.0.0.1",
	    .port = (uint16_t)number("port", 22),
	    .user = word("user", "root"),
	    .key_file = word("key", ""),
	    .host_key = word("host_key", ""),
	    .timeout = 60 * USEC_PER_SEC,
	};
	struct err err = ERR_INIT;
	int r =
	    ssh_open(loop, &t, on_connected, on_closed, NULL, &session, &err);

	if (r < 0) {
		printf("error %s: %s\n", strerrorname_np(-r), err.text);
		return r;
	}
	while (!connected)
		loop_turn(loop, USEC_PER_SEC);
	return result;
}

static void fill(struct install_slice *s, struct image_look *image)
{
	struct stat st = {0};

	snprintf(
	    image->source, sizeof(image->source), "%s", word("source", ""));
	snprintf(image->init, sizeof(image->init), "%s", word("init", ""));
	snprintf(image->registration, sizeof(image->registration), "%s",
	    word("registration", ""));
	memset(
	    image->digest, word("digest", "a")[0], sizeof(image->digest) - 1);
	(void)stat(image->source, &st);
	image->size = number("size", (uint64_t)st.st_size);
	image->format = STREQ(word("source_format", "raw"), "raw")
			    ? FORMAT_RAW
			    : FORMAT_QCOW2;
	*s = (struct install_slice){
	    .guest = session,
	    .root = word("root", "/mnt"),
	    .image = image,
	    .payload_serial = word("payload", NULL),
	    .firmware = number("uefi", 0) ? FIRMWARE_UEFI : FIRMWARE_DIRECT,
	    .kernel = word("kernel", NULL),
	    .initrd = word("initrd", NULL),
	    .modules = word("modules", NULL),
	    .cmdline = word("cmdline", ""),
	    .esp = word("esp", NULL),
	    .disk_path = word("disk", NULL),
	    .disk_size = number("disk_size", 0),
	    .disk_format = STREQ(word("format", "qcow2"), "raw") ? FORMAT_RAW
								 : FORMAT_QCOW2,
	    .seed_path = word("seed", NULL),
	    .user_data = word("user_data", NULL),
	    .meta_data = word("meta_data", NULL),
	};
}

static const struct install_driver *driver(void)
{
	const struct node_driver *n = registry_node("qemu");

	for (int k = 0; k < IMAGE_KINDS; k++)
		if (n->install[k] &&
		    STREQ(n->install[k]->name, word("kind", "rootfs")))
			return n->install[k];
	return NULL;
}

static int call(const struct install_driver *d, void *self, const char *what,
    const struct install_slice *s)
{
	struct err err = ERR_INIT;
	int r;

	op =
	    (struct op){.what = what, .done = on_done, .progress = on_progress};
	ended = false;
	if (STREQ(what, "seal"))
		r = install_seal(d, self, s, &op, &err);
	else if (STREQ(what, "ensure"))
		r = install_ensure(d, self, s, &op, &err);
	else
		r = install_observe(d, self, s, &op, &err);
	if (r < 0) {
		printf("error %s: %s\n", strerrorname_np(-r), err.text);
		return r;
	}
	while (!ended)
		loop_turn(loop, USEC_PER_SEC);
	return result;
}

int main(int argc, char **argv)
{
	const struct install_driver *d;
	_cleanup_free_ struct image_look *image = NULL;
	_cleanup_free_ char *calls = NULL;
	struct install_slice slice;
	struct install_look look;
	struct driver_env env = {.name = "try", .log = on_log};
	char *what, *state = NULL;
	void *self;
	int r = 0;

	words = argv + 1;
	began = now_mono();
	d = driver();
	if (!d || loop_new(&loop) < 0)
		return 2;
	env.loop = loop;
	env.state_dir = env.runtime_dir = word("state", ".");
	if (number("port", 0) && connect_guest() < 0)
		return 1;
	image = xcalloc(1, sizeof(*image));
	fill(&slice, image);
	if (d->open(&env, &self, NULL) < 0)
		return 2;
	calls = xstrdup(word("do", "observe"));
	for (what = strtok_r(calls, ",", &state); what && r == 0;
	     what = strtok_r(NULL, ",", &state)) {
		r = call(d, self, what, &slice);
		printf("%.1f %s: %s\n", seconds(), what, r ? "failed" : "done");
	}
	d->look(self, &look);
	printf("copied %s\ninstalled %s\n", look.copied, look.installed);
	d->close(self);
	ssh_close(session);
	loop_free(loop);
	/* The session's thread may not have ended: nothing is taken down. */
	fflush(stdout);
	_exit(r ? 1 : 0);
}
