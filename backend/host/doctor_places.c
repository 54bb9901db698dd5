/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of `rackfs doctor` that looks at places and room: apt's lists,
 * paths, disk, memory, and whether machines outlive a log-out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "host/doctor_internal.h"

#define LISTS_DIR "/var/lib/apt/lists"
#define LISTS_OLD 2592000 /* 30 days, in seconds */
/* The image, its packages, a build under way; disks of machines grow above. */
#define DISK_LEAST  (600 * MIB)
#define DISK_GOOD   (4 * GIB)
#define MEMORY_GOOD (2 * GIB)
/* What QEMU's and vde_switch's sockets leave of sun_path's 108 bytes for the
 * folder of the switch, less "/networks/lan/launch-99999/ctl". */
#define RUNTIME_PATH_MAX (91 - 30)

/* The default state and runtime folders. */
static void places(struct buf *state, struct buf *runtime)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0) {
		buf_puts(state, "/var/lib/rackfs");
		buf_puts(runtime, "/run/rackfs");
		return;
	}
	if (xdg && xdg[0] == '/')
		buf_printf(state, "%s/rackfs", xdg);
	else
		buf_printf(state, "%s/.local/state/rackfs", home ? home : "");
	buf_printf(runtime, "%s/run", buf_str(state));
}

static void check_path(struct doctor *d, const char *what, const char *path)
{
	size_t len = strlen(path);

	if (len > RUNTIME_PATH_MAX)
		doctor_report(d, WARN, what, NULL,
		    "%s has %zu bytes and sockets below it leave %d: give a "
		    "shorter --runtime-dir",
		    path, len, RUNTIME_PATH_MAX);
	else
		doctor_report(d, OK, what, NULL, "%s, %zu of at most %d bytes",
		    path, len, RUNTIME_PATH_MAX);
}

void doctor_check_paths(struct doctor *d)
{
	_cleanup_buf_ struct buf state = {0}, runtime = {0}, demo = {0};
	_cleanup_free_ char *cwd = getcwd(NULL, 0);

	places(&state, &runtime);
	check_path(d, "runtime path", buf_str(&runtime));
	buf_printf(&demo, "%s/.rackfs/run", cwd ? cwd : "");
	check_path(d, "demo path", buf_str(&demo));
}

void doctor_check_disk(struct doctor *d)
{
	_cleanup_buf_ struct buf state = {0}, runtime = {0};
	struct statvfs v;
	char *slash;

	places(&state, &runtime);
	/* The folder may not be made yet: the nearest above it that is. */
	while (statvfs(buf_str(&state), &v) < 0) {
		slash = state.len ? strrchr(state.data, '/') : NULL;
		if (!slash || slash == state.data) {
			buf_clear(&state);
			buf_putc(&state, '/');
			if (statvfs("/", &v) < 0)
				return;
			break;
		}
		*slash = '\0';
		state.len = (size_t)(slash - state.data);
	}
	uint64_t bytes = (uint64_t)v.f_bavail * v.f_frsize;
	doctor_report(d,
	    bytes < DISK_LEAST  ? MISSING
	    : bytes < DISK_GOOD ? WARN
				: OK,
	    "disk space", NULL, "%.1f GiB free in %s%s",
	    (double)bytes / (double)GIB, buf_str(&state),
	    bytes < DISK_GOOD ? ", 4 GiB are comfortable" : "");
}

void doctor_check_memory(struct doctor *d)
{
	struct sysinfo s;

	if (sysinfo(&s) < 0)
		return;
	uint64_t bytes = ((uint64_t)s.freeram + s.bufferram) * s.mem_unit;
	_cleanup_buf_ struct buf text = {0};
	/* What caches give back counts too; sysinfo(2) doesn't know it. */
	if (file_read(AT_FDCWD, "/proc/meminfo", 64 * KIB, &text) >= 0) {
		const char *at = strstr(buf_str(&text), "MemAvailable:");

		if (at)
			bytes = strtoull(at + 13, NULL, 10) * KIB;
	}
	doctor_report(d, bytes < MEMORY_GOOD ? WARN : OK, "memory", NULL,
	    "%.1f GiB available%s", (double)bytes / (double)GIB,
	    bytes < MEMORY_GOOD ? ", three machines of 512M like 2 GiB" : "");
}

void doctor_check_linger(struct doctor *d)
{
	_cleanup_buf_ struct buf path = {0};
	const struct passwd *p = getpwuid(geteuid());

	if (geteuid() == 0 || access("/run/systemd/system", F_OK) < 0) {
		doctor_report(d, OK, "lingering", NULL,
		    "machines live on when you log out");
		return;
	}
	buf_printf(&path, "/var/lib/systemd/linger/%s", p ? p->pw_name : "");
	if (p && access(buf_str(&path), F_OK) == 0)
		doctor_report(d, OK, "lingering", NULL,
		    "on: machines live on when you log out");
	else
		doctor_report(d, WARN, "lingering", "loginctl enable-linger",
		    "off: systemd may end your machines when you log out");
}

void doctor_check_lists(struct doctor *d)
{
	DIR *dir = opendir(LISTS_DIR);
	struct dirent *e;
	time_t newest = 0;
	struct stat st;

	while (dir && (e = readdir(dir)))
		if (strstr(e->d_name, "_Packages") &&
		    fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
			newest = MAX(newest, st.st_mtime);
	/* A file has its server's time; the folder that of the last update. */
	if (newest && fstat(dirfd(dir), &st) == 0)
		newest = MAX(newest, st.st_mtime);
	if (dir)
		closedir(dir);
	if (!newest)
		doctor_report(d, MISSING, "apt lists", "sudo apt-get update",
		    "no package lists in " LISTS_DIR);
	else if (time(NULL) - newest > LISTS_OLD)
		doctor_report(d, WARN, "apt lists", "sudo apt-get update",
		    "%lld days old: packages may be gone",
		    (long long)(time(NULL) - newest) / 86400);
	else
		doctor_report(d, OK, "apt lists", NULL, "in " LISTS_DIR);
}

/* Root file systems are built under user ids that belong to the user. */
void doctor_check_subuid(struct doctor *d)
{
	const struct passwd *p = getpwuid(geteuid());
	const char *name = p ? p->pw_name : "";
	_cleanup_free_ char *line = xasprintf("\n%s:", name);
	_cleanup_free_ char *mend =
	    xasprintf("sudo usermod --add-subuids 100000-165535 --add-subgids "
		      "100000-165535 %s",
		name);
	_cleanup_buf_ struct buf text = {0}, lines = {0};

	if (geteuid() == 0) {
		doctor_report(
		    d, OK, "user ids", NULL, "root needs no range of its own");
		return;
	}
	(void)file_read(AT_FDCWD, "/etc/subuid", MIB, &text);
	buf_printf(&lines, "\n%s", buf_str(&text));
	if (strstr(buf_str(&lines), line))
		doctor_report(d, OK, "user ids", NULL,
		    "%s has a range in /etc/subuid", name);
	else
		doctor_report(d, WARN, "user ids", mend,
		    "%s has no range in /etc/subuid: root file systems can't "
		    "be "
		    "built",
		    name);
}
