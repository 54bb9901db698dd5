// SPDX-License-Identifier: Apache-2.0
/*
 * What was tried for a node: kept in the runtime directory, not synced, so
 * that a restart of the daemon goes on where it was and a reboot of the host
 * starts afresh.  It belongs to one document: another one drops the failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>
#include "engine/engine.h"

#define HISTORY_MAX (4 * MIB)

static char *history_path(const struct node *n)
{
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->runtime_dir);

	return xasprintf("%s/history.json", dir);
}

static json_t *integer(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/* Of a node that is up: what its way there took. */
static void save_stages(const struct node *n, json_t *o)
{
	json_t *stages;

	if (!n->stages || n->plan.state != STATE_UP)
		return;
	stages = json_object();
	for (int s = 0; s < STAGES; s++) {
		const struct stage_record *r = &n->stages[s];
		json_t *record = json_object();

		if (r->state == STAGE_DONE) {
			json_object_set_new(
			    record, "started", integer(r->started));
			json_object_set_new(record, "ended", integer(r->ended));
			json_object_set_new(
			    record, "real", integer(r->started_real));
			json_object_set_new(
			    record, "attempts", integer(r->attempts));
			json_object_set(stages, stage_name(s), record);
		}
		json_decref(record);
	}
	json_object_set_new(o, "stages", stages);
}

/* Monotonic times are kept as they are: the runtime directory is made anew
 * when the host was booted again. */
void history_save(struct node *n)
{
	_cleanup_free_ char *path = history_path(n);
	_cleanup_free_ char *dir = object_path(&n->o, n->o.c->runtime_dir);
	json_t *o = json_object();
	char *text;

	json_object_set_new(o, "digest", integer(n->spec_digest & INT64_MAX));
	json_object_set_new(o, "handled", integer(n->handled));
	json_object_set_new(o, "leave", integer(n->leave));
	json_object_set_new(o, "leave_hard", json_boolean(n->leave_hard));
	json_object_set_new(o, "asking", integer(n->asking));
	json_object_set_new(o, "restarts", integer(n->tried.restarts));
	json_object_set_new(o, "retry_at", integer(n->tried.retry_at));
	json_object_set_new(o, "asked", integer(n->tried.asked));
	json_object_set_new(o, "asked_at", integer(n->tried.asked_at));
	json_object_set_new(o, "started", integer(n->started_launch));
	json_object_set_new(o, "disk", json_boolean(n->started_disk));
	json_object_set_new(o, "payload", json_boolean(n->started_payload));
	json_object_set_new(o, "up", integer(n->up_launch));
	json_object_set_new(o, "set_up", integer(n->set_up_digest & INT64_MAX));
	json_object_set_new(o, "hosts", integer(n->hosts_digest));
	if (n->started_spec)
		json_object_set_new(
		    o, "started_spec", json_string(n->started_spec));
	if (n->tried.failed) {
		json_object_set_new(o, "failed",
		    json_string(stage_name(n->tried.failed_stage)));
		json_object_set_new(
		    o, "failed_check", json_boolean(n->tried.failed_check));
		json_object_set_new(
		    o, "failed_after", json_boolean(n->tried.failed_after));
		json_object_set_new(o, "sentence",
		    json_string(n->failed_sentence ? n->failed_sentence : ""));
	}
	save_stages(n, o);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	/* Most of the time there is nothing new to remember. */
	if (n->history_digest == hash_bytes(text, strlen(text))) {
		free(text);
		return;
	}
	n->history_digest = hash_bytes(text, strlen(text));
	if (file_replace(AT_FDCWD, path, text, strlen(text), 0600) == -ENOENT &&
	    mkdir_p(dir, 0700) == 0)
		(void)file_replace(AT_FDCWD, path, text, strlen(text), 0600);
	free(text);
}

static uint64_t number(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v < 0 ? 0 : (uint64_t)v;
}

static void load_stages(struct node *n, json_t *stages)
{
	const char *name;
	json_t *record;

	if (!json_is_object(stages) || n->stages)
		return;
	n->stages = xcalloc(STAGES, sizeof(*n->stages));
	for (int s = 0; s < STAGES; s++)
		n->stages[s].percent = -1;
	json_object_foreach (stages, name, record) {
		enum stage s;

		if (stage_parse(name, &s) < 0)
			continue;
		n->stages[s].state = STAGE_DONE;
		n->stages[s].started = number(record, "started");
		n->stages[s].ended = number(record, "ended");
		n->stages[s].started_real = number(record, "real");
		n->stages[s].attempts = (unsigned)number(record, "attempts");
	}
}

void history_load(struct node *n)
{
	_cleanup_free_ char *path = history_path(n);
	_cleanup_buf_ struct buf text = {0};
	const char *failed, *sentence, *started;
	json_t *o;

	if (file_read(AT_FDCWD, path, HISTORY_MAX, &text) < 0)
		return;
	o = json_loads(buf_str(&text), 0, NULL);
	if (!o)
		return; /* it is only a memory; what is there is observed */
	n->handled = number(o, "handled");
	n->leave = number(o, "leave");
	n->leave_hard = json_is_true(json_object_get(o, "leave_hard"));
	n->asking = number(o, "asking");
	n->started_launch = number(o, "started");
	n->started_disk = json_is_true(json_object_get(o, "disk"));
	n->started_payload = json_is_true(json_object_get(o, "payload"));
	started = json_string_value(json_object_get(o, "started_spec"));
	n->started_spec = xstrdup(started);
	if (started)
		(void)node_spec_parse(NULL, started, &n->started, NULL);
	n->up_launch = number(o, "up");
	n->remembered = n->up_launch != 0;
	n->set_up_digest = number(o, "set_up");
	n->hosts_digest = number(o, "hosts");
	load_stages(n, json_object_get(o, "stages"));
	n->tried.asked = number(o, "asked");
	n->tried.asked_at = number(o, "asked_at");
	if (number(o, "digest") == (n->spec_digest & INT64_MAX)) {
		n->tried.restarts = (unsigned)number(o, "restarts");
		n->tried.retry_at = number(o, "retry_at");
		failed = json_string_value(json_object_get(o, "failed"));
		sentence = json_string_value(json_object_get(o, "sentence"));
		if (failed &&
		    stage_parse(failed, &n->tried.failed_stage) == 0) {
			n->tried.failed = true;
			n->tried.failed_check =
			    json_is_true(json_object_get(o, "failed_check"));
			n->tried.failed_after =
			    json_is_true(json_object_get(o, "failed_after"));
			n->failed_sentence = xstrdup(sentence ? sentence : "");
		}
	}
	json_decref(o);
}

void history_clear_failure(struct node *n)
{
	bool had = n->tried.failed;

	n->tried.failed = n->tried.failed_after = false;
	n->tried.failed_check = false;
	n->tried.restarts = 0;
	n->tried.retry_at = 0;
	n->tries = 0;
	node_doubt_drop(n);
	free(TAKE_PTR(n->failed_sentence));
	if (had)
		touch(&n->o, ASPECT_ERROR | ASPECT_OBSERVED | ASPECT_PROGRESS);
	history_save(n);
}
