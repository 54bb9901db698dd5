/* SPDX-License-Identifier: Apache-2.0
 *
 * `rackfs doctor`.  Each check looks at one thing of this host and reports a
 * line; main.c calls doctor_run() and nothing else runs then.  "missing" is
 * what three machines can't come up without, "warn" is what makes them
 * slower or less safe.  A check changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/child.h"
#include "host/doctor_internal.h"
#include "host/kvm.h"
#include "host/spawn.h"

#define TOOL_TIMEOUT (10 * USEC_PER_SEC)
#define OUTPUT_MAX   512

void doctor_report(struct doctor *d, enum verdict v, const char *what,
    const char *mend, const char *fmt, ...)
{
	static const char *const names[] = {"ok", "warn", "missing"};
	va_list ap;

	fprintf(d->out, "%-8s %-14s ", names[v], what);
	va_start(ap, fmt);
	vfprintf(d->out, fmt, ap);
	va_end(ap);
	if (mend)
		fprintf(d->out, "; run: %s", mend);
	fputc('\n', d->out);
	fflush(d->out);
	d->lacks |= v == MISSING;
}

/* --- programs --- */

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct doctor *d = userdata;

	if (!is_stderr && d->words.len < OUTPUT_MAX)
		buf_append(
		    &d->words, data, MIN(len, OUTPUT_MAX - d->words.len));
}

static void on_done(int code, int status, void *userdata)
{
	struct doctor *d = userdata;

	d->status = code < 0 ? code : status;
	d->over = true;
}

/* The first line that a program says; NULL when it fails. */
static const char *ask(struct doctor *d, char *const *argv)
{
	struct child *c;
	struct child_options o = {.argv = argv,
	    .stdin_fd = -1,
	    .timeout = TOOL_TIMEOUT,
	    .output = on_output,
	    .done = on_done,
	    .userdata = d};

	d->over = false;
	buf_clear(&d->words);
	if (child_start(d->loop, &o, &c, NULL) < 0)
		return NULL;
	while (!d->over && loop_turn(d->loop, USEC_NEVER) >= 0)
		;
	child_free(c);
	if (d->status != 0 || !d->words.len)
		return NULL;
	d->words.data[strcspn(d->words.data, "\n")] = '\0';
	return d->words.data;
}

static bool find(const char *program)
{
	_cleanup_free_ char *path = NULL;

	return spawn_find(program, &path, NULL) >= 0;
}

struct tool {
	const char *program, *package, *what;
};

/* Reports one line for several programs: all there, or which are not. */
static void check_tools(struct doctor *d, enum verdict lacking_is,
    const char *what, const struct tool *tools, size_t n)
{
	_cleanup_buf_ struct buf lacking = {0}, mend = {0}, all = {0};

	buf_puts(&mend, "sudo apt-get install");
	for (size_t i = 0; i < n; i++) {
		bool there = find(tools[i].program);
		struct buf *b = there ? &all : &lacking;

		buf_printf(b, "%s%s", b->len ? ", " : "", tools[i].program);
		if (!there && tools[i].what)
			buf_printf(b, " (%s)", tools[i].what);
		if (!there && !strstr(buf_str(&mend), tools[i].package))
			buf_printf(&mend, " %s", tools[i].package);
	}
	if (lacking.len)
		doctor_report(d, lacking_is, what, buf_str(&mend), "no %s",
		    buf_str(&lacking));
	else
		doctor_report(d, OK, what, NULL, "%s", buf_str(&all));
}

/* --- FUSE --- */

static void check_fuse(struct doctor *d)
{
	struct stat st;
	_cleanup_close_ int fd = -1;

	if (stat("/dev/fuse", &st) < 0) {
		doctor_report(d, MISSING, "fuse", "sudo modprobe fuse",
		    "there is no /dev/fuse: the kernel has no FUSE, or a "
		    "container hides it");
		return;
	}
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		doctor_report(d, MISSING, "fuse", "sudo chmod 666 /dev/fuse",
		    "/dev/fuse has mode %04o and doesn't open: %s",
		    st.st_mode & 07777, strerror(errno));
	else
		doctor_report(d, OK, "fuse", NULL, "/dev/fuse, mode %04o",
		    st.st_mode & 07777);
}

static void check_fusermount(struct doctor *d)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (spawn_find("fusermount3", &path, NULL) < 0)
		doctor_report(d, MISSING, "fusermount3",
		    "sudo apt-get install fuse3",
		    "mounts and unmounts without root: not installed");
	else if (geteuid() != 0 && stat(path, &st) == 0 &&
		 (!(st.st_mode & S_ISUID) || st.st_uid != 0))
		doctor_report(d, MISSING, "fusermount3",
		    "sudo apt-get install --reinstall fuse3",
		    "%s is not setuid root: it can't mount for you", path);
	else
		doctor_report(d, OK, "fusermount3", NULL, "%s", path);
}

/* Has a configuration file this word as a line? */
static bool has_line(const char *path, const char *word)
{
	_cleanup_buf_ struct buf text = {0};
	char *save = NULL;

	if (file_read(AT_FDCWD, path, 64 * KIB, &text) < 0 || !text.len)
		return false;
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r")] = '\0';
		if (STREQ(line, word))
			return true;
	}
	return false;
}

static void check_allow_other(struct doctor *d)
{
	if (geteuid() == 0)
		doctor_report(d, OK, "allow_other", NULL,
		    "root may always let others look");
	else if (has_line("/etc/fuse.conf", "user_allow_other"))
		doctor_report(d, OK, "allow_other", NULL,
		    "/etc/fuse.conf has user_allow_other");
	else
		doctor_report(d, WARN, "allow_other",
		    "echo user_allow_other | sudo tee -a /etc/fuse.conf",
		    "only you will see the mount, not even root");
}

/* --- machines and networks --- */

static void on_probe(bool usable, const char *why, void *userdata)
{
	struct doctor *d = userdata;

	d->usable = usable;
	buf_clear(&d->words);
	buf_puts(&d->words, why ? why : "");
	d->over = true;
}

static void check_kvm(struct doctor *d)
{
	char dir[] = "/tmp/rackfs-doctor.XXXXXX";
	struct kvm_probe *p = NULL;
	struct err err = ERR_INIT;

	d->over = false;
	if (!mkdtemp(dir)) {
		doctor_report(d, WARN, "kvm", NULL, "not tried: /tmp: %s",
		    strerror(errno));
		return;
	}
	if (kvm_probe_new(d->loop, dir, on_probe, d, &p, &err) < 0) {
		doctor_report(
		    d, WARN, "kvm", NULL, "not tried: %s", err_text(&err));
	} else {
		while (!d->over && loop_turn(d->loop, USEC_NEVER) >= 0)
			;
		if (d->usable)
			doctor_report(d, OK, "kvm", NULL, "a guest runs on it");
		else
			doctor_report(d, WARN, "kvm", NULL,
			    "machines are emulated, several times slower: %s",
			    buf_str(&d->words));
	}
	kvm_probe_free(p);
	rmdir(dir);
}

static void check_qemu(struct doctor *d)
{
	char *argv[] = {"qemu-system-x86_64", "--version", NULL};
	const char *words = ask(d, argv);

	if (!find(argv[0]))
		doctor_report(d, MISSING, "qemu",
		    "sudo apt-get install qemu-system-x86",
		    "no qemu-system-x86_64");
	else if (!words)
		doctor_report(d, MISSING, "qemu",
		    "sudo apt-get install --reinstall qemu-system-x86",
		    "qemu-system-x86_64 --version fails");
	else
		doctor_report(d, OK, "qemu", NULL, "%s", words);
}

static void check_ovmf(struct doctor *d)
{
	static const char code[] = "/usr/share/OVMF/OVMF_CODE_4M.fd";

	if (access(code, R_OK) == 0)
		doctor_report(d, OK, "ovmf", NULL, "%s", code);
	else
		doctor_report(d, WARN, "ovmf", "sudo apt-get install ovmf",
		    "nodes with boot.firmware \"uefi\" can't start: no %s",
		    code);
}

static void check_machine_tools(struct doctor *d)
{
	static const struct tool tools[] = {
	    {"qemu-img", "qemu-utils", "makes disks"},
	    {"vde_switch", "vde2", "the networks"},
	    {"ssh", "openssh-client", "to log in"},
	};
	check_tools(d, MISSING, "tools", tools, ARRAY_SIZE(tools));
}

static void check_host(struct doctor *d)
{
	struct utsname u;

	if (uname(&u) < 0 || STREQ(u.machine, "x86_64"))
		doctor_report(
		    d, OK, "host", NULL, "x86_64, Linux %s", u.release);
	else
		doctor_report(d, MISSING, "host", NULL,
		    "machines are x86_64, and so must the host be: %s",
		    u.machine);
}

/* --- the image --- */

static void check_image_tools(struct doctor *d)
{
	static const struct tool tools[] = {
	    {"apt-get", "apt", NULL},
	    {"dpkg-deb", "dpkg", NULL},
	    {"readelf", "binutils", NULL},
	    {"objcopy", "binutils", NULL},
	    {"gcc", "gcc", NULL},
	    {"cpio", "cpio", NULL},
	    {"zstd", "zstd", NULL},
	    {"flock", "util-linux", NULL},
	    {"depmod", "kmod", NULL},
	};
	check_tools(d, MISSING, "image tools", tools, ARRAY_SIZE(tools));
}

/* Only who installs a system that is built here needs these. */
static void check_rootfs_tools(struct doctor *d)
{
	static const struct tool tools[] = {
	    {"mmdebstrap", "mmdebstrap", "builds root file systems"},
	    {"unshare", "util-linux", NULL},
	    {"newuidmap", "uidmap", "builds them without root"},
	};
	check_tools(
	    d, WARN, "rootfs tools", tools, ARRAY_SIZE(tools) - !geteuid());
}

static void check_libc(struct doctor *d)
{
	char *argv[] = {"gcc", "-print-file-name=libc.a", NULL};
	const char *words = ask(d, argv);

	/* gcc gives the bare name back when it finds none. */
	if (words && words[0] == '/' && access(words, R_OK) == 0)
		doctor_report(d, OK, "static libc", NULL, "%s", words);
	else
		doctor_report(d, MISSING, "static libc",
		    "sudo apt-get install libc6-dev",
		    "no libc.a for the guest's helper");
}

int doctor_run(FILE *out)
{
	static void (*const checks[])(struct doctor * d) = {
	    check_host,
	    check_fuse,
	    check_fusermount,
	    check_allow_other,
	    check_kvm,
	    check_qemu,
	    check_ovmf,
	    check_machine_tools,
	    check_image_tools,
	    check_rootfs_tools,
	    doctor_check_subuid,
	    check_libc,
	    doctor_check_lists,
	    doctor_check_paths,
	    doctor_check_disk,
	    doctor_check_memory,
	    doctor_check_linger,
	};
	struct doctor d = {.out = out};

	if (loop_new(&d.loop) < 0) {
		fprintf(out, "missing  loop           no event loop: %s\n",
		    strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	loop_free(d.loop);
	buf_done(&d.words);
	return d.lacks;
}
