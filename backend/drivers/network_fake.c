/* SPDX-License-Identifier: Apache-2.0
 *
 * A network that is up as soon as it is asked for, and carries nothing.  A
 * file in its runtime directory says that it runs, for the next daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "drivers/fake.h"

#define RECORD     "fake-network"
#define RECORD_MAX 256

struct network {
	const struct driver_env *env;
	struct fake_task task;
	enum network_presence state;
	uint64_t incarnation;
	unsigned ports, asked;
};

static int fake_open(const struct driver_env *env, void **ret, struct err *err)
{
	struct network *n = xcalloc(1, sizeof(*n));

	n->env = env;
	*ret = n;
	return 0;
}

static void fake_close(void *self)
{
	struct network *n = self;

	if (!n)
		return;
	fake_drop(&n->task);
	free(n);
}

static int observe_end(void *self, struct err *err)
{
	struct network *n = self;
	_cleanup_free_ char *path = fake_path(n->env->runtime_dir, RECORD);
	_cleanup_buf_ struct buf text = {0};
	int r = file_read(AT_FDCWD, path, RECORD_MAX, &text);

	if (r < 0 && r != -ENOENT)
		return err_errno(err, r, "%s can't be read", path);
	bool runs = r == 0 && sscanf(buf_str(&text), "%" SCNu64 " %u",
				  &n->incarnation, &n->ports) == 2;
	n->state = runs ? NETWORK_RUNNING : NETWORK_NONE;
	return 0;
}

static int fake_observe(void *self, struct op *op, struct err *err)
{
	struct network *n = self;

	return fake_begin(&n->task, n->env->loop, 0, observe_end, n, op, err);
}

static void fake_look(void *self, struct network_look *ret)
{
	struct network *n = self;
	bool runs = n->state == NETWORK_RUNNING;

	*ret = (struct network_look){
	    .state = n->state,
	    .incarnation = runs ? n->incarnation : 0,
	    .endpoint = runs ? "fake" : NULL,
	    .ports = runs ? n->ports : 0,
	};
}

static int ensure_end(void *self, struct err *err)
{
	struct network *n = self;
	_cleanup_free_ char *path = fake_path(n->env->runtime_dir, RECORD);
	_cleanup_buf_ struct buf text = {0};

	if (n->state == NETWORK_RUNNING && n->ports >= n->asked)
		return 0;
	n->ports = MAX(n->ports, n->asked);
	if (n->state != NETWORK_RUNNING)
		random_bytes(&n->incarnation, sizeof(n->incarnation));
	buf_printf(&text, "%" PRIu64 " %u\n", n->incarnation, n->ports);
	int r = file_replace(AT_FDCWD, path, text.data, text.len, 0600);
	if (r < 0)
		return err_errno(err, r, "%s can't be written", path);
	n->state = NETWORK_RUNNING;
	return 0;
}

static int fake_ensure(void *self, const struct network_slice *slice,
    struct op *op, struct err *err)
{
	struct network *n = self;

	n->asked = slice->ports;
	return fake_begin(&n->task, n->env->loop, 0, ensure_end, n, op, err);
}

static int remove_end(void *self, struct err *err)
{
	struct network *n = self;
	_cleanup_free_ char *path = fake_path(n->env->runtime_dir, RECORD);

	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(err, -errno, "%s can't be removed", path);
	n->state = NETWORK_NONE;
	n->ports = 0;
	return 0;
}

static int fake_remove(void *self, struct op *op, struct err *err)
{
	struct network *n = self;

	return fake_begin(&n->task, n->env->loop, 0, remove_end, n, op, err);
}

static int ports_end(void *self, struct err *err)
{
	return 0;
}

static int fake_query_ports(void *self, struct op *op, struct err *err)
{
	struct network *n = self;

	if (n->state != NETWORK_RUNNING)
		return err_set(err, -ENOTCONN, "the network is not up");
	return fake_begin(&n->task, n->env->loop, 0, ports_end, n, op, err);
}

static size_t fake_ports(void *self, const struct network_port **ret)
{
	*ret = NULL;
	return 0;
}

const struct network_driver network_fake = {
    .name = "fake",
    .help = "a network that carries nothing, for tests",
    .available = fake_available,
    .open = fake_open,
    .close = fake_close,
    .observe = fake_observe,
    .look = fake_look,
    .ensure = fake_ensure,
    .remove = fake_remove,
    .query_ports = fake_query_ports,
    .ports = fake_ports,
};
