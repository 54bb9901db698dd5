/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's own log: stderr, or the journal when systemd gave us one
 * (then lines carry the <N> priority prefix of sd-daemon(3)).  Library code
 * below engine/ does not log; it returns errors.
 */
#ifndef RACKFS_LOG_H
#define RACKFS_LOG_H

#include "util.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_DEBUG, LOG_LEVELS };

const char *log_level_name(enum log_level level);
int log_level_parse(const char *name, enum log_level *ret); /* or -EINVAL */
void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...)  log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_WARN, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_DEBUG, __VA_ARGS__)

#endif
