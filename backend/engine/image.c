// SPDX-License-Identifier: Apache-2.0
/*
 * Images: looked for when their spec comes or changes, made when a node first
 * needs one.  A node that waits for one is marked when it is ready or failed.
 * A host file that a spec names is watched: a change there is one of the spec.
 */
#include <errno.h>
#include <stdio.h>
#include "engine/engine.h"

struct image *node_image(const struct node *n)
{
	struct object *o =
	    n->spec ? cluster_find(n->o.c, OBJECT_IMAGE, n->spec->boot_image)
		    : NULL;

	return o ? as_image(o) : NULL;
}

static char *cache_dir(const struct cluster *c)
{
	return xasprintf("%s/cache", c->state_dir);
}

void image_open(struct image *img)
{
	_cleanup_free_ char *cache = cache_dir(img->o.c);
	struct err err = ERR_INIT;
	int r;

	if (img->handle || !img->driver)
		return;
	r = mkdir_p(cache, 0700);
	if (r < 0)
		err_errno(&err, r, "can't make %s", cache);
	else
		r = object_env_open(&img->o, &img->env, &err);
	if (r == 0)
		r = img->driver->open(img->env, &img->handle, &err);
	if (r < 0) {
		free(img->failed_sentence);
		img->failed_sentence = xstrdup(err_text(&err));
		img->state = IMAGE_FAILED;
		image_close(img);
	}
}

void image_close(struct image *img)
{
	if (img->handle)
		img->driver->close(TAKE_PTR(img->handle));
	object_env_close(TAKE_PTR(img->env));
	img->doing = IMG_IDLE;
}

static bool uses_image(const struct node *n, const struct image *img)
{
	return n->driver && !n->driver->virtual &&
	       (node_image(n) == img || node_system(n) == img);
}

static void nodes_mark_image(struct image *img)
{
	EACH_OBJECT (o, img->o.c, OBJECT_NODE) {
		if (uses_image(as_node(o), img))
			mark_dirty(o);
	}
}

static void set_state(
    struct image *img, enum image_state state, const char *sentence)
{
	enum image_state was = img->state;

	free(img->failed_sentence);
	img->failed_sentence = xstrdup(sentence);
	img->state = state;
	if (was == state && !sentence)
		return;
	event(&img->o, "state", image_state_name(was), image_state_name(state),
	    NULL, sentence ? "%s" : NULL, sentence);
	touch(&img->o, ASPECT_STATE | ASPECT_OBSERVED | ASPECT_ERROR);
	touch(&img->o.c->o, ASPECT_SETTLED);
	nodes_mark_image(img);
}

/* --- host files --- */

/* Nodes that failed for it try again. */
static void nodes_try_again(struct image *img)
{
	EACH_OBJECT (o, img->o.c, OBJECT_NODE) {
		struct node *n = as_node(o);

		if (!uses_image(n, img) || !n->tried.failed ||
		    (n->tried.failed_stage != STAGE_IMAGE &&
			n->tried.failed_stage != STAGE_INSTALL))
			continue;
		history_clear_failure(n);
		mark_dirty(o);
	}
}

/* A change of a file that the spec names is a change of the spec. */
static void on_file(const char *path, void *userdata)
{
	struct image *img = userdata;

	event(&img->o, "source", NULL, NULL, NULL, "%s changed", path);
	image_spec_changed(img);
	nodes_try_again(img);
}

static void watch_files(struct image *img)
{
	const char *const paths[] = {img->kernel, img->initrd, img->source};

	watch_clear(&img->watches);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		watch_add(&img->watches, img->o.c, paths[i], on_file, img);
}

/* --- steps --- */

static void op_progressed(struct op *op, int percent, const char *text)
{
	struct image *img = op->owner;

	img->percent = percent;
	free(img->detail);
	img->detail = xstrdup(text);
	touch(&img->o, ASPECT_OBSERVED | ASPECT_PROGRESS);
	EACH_OBJECT (o, img->o.c, OBJECT_NODE) {
		struct node *n = as_node(o);

		if (n->plan.step == STEP_IMAGE && uses_image(n, img))
			node_stage_detail(n, STAGE_IMAGE, percent, text);
	}
}

static void op_ended(struct op *op, int code, const struct err *err)
{
	struct image *img = op->owner;
	bool ensured = img->doing == IMG_ENSURING;

	img->doing = IMG_IDLE;
	free(TAKE_PTR(img->detail));
	if (img->stale) {
		image_spec_changed(img);
		return;
	}
	img->observed = true;
	img->driver->look(img->handle, &img->look);
	if (img->look.ready) {
		img->wanted = false;
		set_state(img, IMAGE_READY, NULL);
	} else if (!ensured) {
		set_state(img, IMAGE_MISSING, NULL);
	} else {
		img->wanted = false;
		set_state(img, IMAGE_FAILED,
		    code < 0 ? err_text(err) : "it is not there after all");
	}
	mark_dirty(&img->o);
}

static void begin(struct image *img, bool ensure)
{
	_cleanup_free_ char *cache = cache_dir(img->o.c);
	const struct image_slice slice = {
	    .kind = img->spec->kind,
	    .build = img->spec->build,
	    .packages = img->spec->packages,
	    .kernel = img->kernel,
	    .initrd = img->initrd,
	    .source = img->source,
	    .sha256 = img->spec->sha256,
	    .init = img->spec->init,
	    .cache_dir = cache,
	    .data_dir = img->o.c->options.data_dir,
	};
	struct err err = ERR_INIT;
	int r;

	img->doing = ensure ? IMG_ENSURING : IMG_OBSERVING;
	img->percent = -1;
	img->op = (struct op){
	    .what = ensure ? "image" : "image-look",
	    .done = op_ended,
	    .progress = op_progressed,
	    .owner = img,
	};
	if (ensure)
		set_state(img, IMAGE_BUILDING, NULL);
	r = host_paths_of_image(img->o.c, img->spec, &err);
	if (r == 0)
		r = (ensure ? image_ensure : image_observe)(
		    img->driver, img->handle, &slice, &img->op, &err);
	if (r >= 0)
		return;
	img->doing = IMG_IDLE;
	img->observed = true;
	img->wanted = false;
	set_state(img, IMAGE_FAILED, err_text(&err));
}

void image_reconcile(struct image *img)
{
	struct err err = ERR_INIT;

	if (img->doing != IMG_IDLE || !img->driver ||
	    img->state == IMAGE_FAILED)
		return;
	if (img->driver->available && img->wanted &&
	    img->driver->available(&err) < 0) {
		img->wanted = false;
		set_state(img, IMAGE_FAILED, err_text(&err));
		return;
	}
	image_open(img);
	if (!img->handle)
		return;
	if (!img->observed)
		begin(img, false);
	else if (img->wanted && img->state != IMAGE_READY)
		begin(img, true);
}

void image_want(struct image *img)
{
	img->wanted = true;
	if (!img->driver) {
		_cleanup_free_ char *s = xasprintf(
		    "images/%s/spec has no `kind`; there is nothing to boot",
		    img->o.name);

		img->wanted = false;
		set_state(img, IMAGE_FAILED, s);
	}
	mark_dirty(&img->o);
}

void image_forget_failure(struct image *img)
{
	if (img->state != IMAGE_FAILED)
		return;
	img->observed = false;
	set_state(img, IMAGE_MISSING, NULL);
	mark_dirty(&img->o);
}

void image_spec_changed(struct image *img)
{
	struct cluster *c = img->o.c;

	img->stale = img->doing != IMG_IDLE;
	if (img->stale) {
		op_cancel(&img->op);
		return;
	}
	image_close(img);
	free(img->kernel);
	free(img->initrd);
	free(img->source);
	free(img->user_key);
	free(img->host_key_file);
	img->kernel = host_path(c, img->spec->kernel);
	img->initrd = host_path(c, img->spec->initrd);
	img->source = host_path(c, img->spec->source);
	img->user_key = host_path(c, img->spec->user_key);
	img->host_key_file = host_path(c, img->spec->host_key);
	watch_files(img);
	img->driver =
	    img->spec->kind == IMAGE_NONE ? NULL : registry_image(img->spec);
	img->look = (struct image_look){0};
	img->observed = false;
	if (c->loading) {
		img->state = IMAGE_MISSING;
		return;
	}
	set_state(img, IMAGE_MISSING, NULL);
	EACH_OBJECT (o, c, OBJECT_NODE) {
		if (uses_image(as_node(o), img))
			free(TAKE_PTR(as_node(o)->host_key));
	}
	mark_dirty(&img->o);
}

void image_spec_written(struct image *img, bool same)
{
	/* What is being made of just this is not begun again. */
	if (same && img->doing == IMG_ENSURING && !img->stale)
		return;
	image_spec_changed(img);
	if (!img->o.c->loading)
		nodes_try_again(img);
}
