/* SPDX-License-Identifier: Apache-2.0
 *
 * The KVM probe: SeaBIOS loads a boot sector from a floppy and runs it on the
 * real machine type and CPU.  A few bytes as firmware would not do: they run
 * on hosts where Linux then hangs.  The machine driver and `rackfs doctor`
 * call it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "host/child.h"
#include "host/kvm.h"

#define PROBE_TIMEOUT (2 * USEC_PER_SEC)
#define FLOPPY_SIZE   1474560
#define SECTOR_SIZE   512
#define EXIT_WORKS    85 /* isa-debug-exit: (0x2a << 1) | 1 */
#define WORDS_MAX     400

/* mov al, 2Ah; out 0F4h, al; cli; hlt; jmp to hlt */
static const uint8_t boot_code[] = {
    0xb0, 0x2a, 0xe6, 0xf4, 0xfa, 0xf4, 0xeb, 0xfc};

struct kvm_probe {
	struct child *child;
	struct loop_source *early; /* the answer was known at once */
	char *floppy;
	char why[512];
	struct buf words; /* what QEMU said */
	void (*done)(bool usable, const char *why, void *userdata);
	void *userdata;
};

static void on_output(
    const char *data, size_t len, bool is_stderr, void *userdata)
{
	struct kvm_probe *p = userdata;

	if (p->words.len < WORDS_MAX)
		buf_append(&p->words, data, MIN(len, WORDS_MAX - p->words.len));
}

/* QEMU's first line, without its name in front. */
static const char *first_words(struct kvm_probe *p, struct buf *ret)
{
	const char *s = buf_str(&p->words);
	const char *colon = strstr(s, ": ");

	if (strncmp(s, "qemu-system", 11) == 0 && colon)
		s = colon + 2;
	buf_escaped(ret, s, strcspn(s, "\r\n"));
	return buf_str(ret);
}

static void on_done(int code, int status, void *userdata)
{
	struct kvm_probe *p = userdata;
	_cleanup_buf_ struct buf words = {0};
	bool usable = code == 0 && status == EXIT_WORKS;

	if (code == -ETIMEDOUT)
		snprintf(p->why, sizeof(p->why),
		    "/dev/kvm is there but a guest hangs on it");
	else if (!usable)
		snprintf(p->why, sizeof(p->why),
		    "/dev/kvm is there but a guest does not run on it: %s",
		    p->words.len ? first_words(p, &words)
				 : "QEMU ended without a word");
	p->done(usable, p->why, p->userdata);
}

static void on_early(void *userdata)
{
	struct kvm_probe *p = userdata;

	p->done(false, p->why, p->userdata);
}

/* Is there anything to try?  Fills `why` when not. */
static bool device_opens(struct kvm_probe *p)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return true;
	if (errno == EACCES || errno == EPERM)
		snprintf(p->why, sizeof(p->why),
		    "/dev/kvm may not be opened by this user: add it to the "
		    "group kvm (usermod -aG kvm USER) and log in again");
	else if (errno == ENOENT)
		snprintf(p->why, sizeof(p->why),
		    "there is no /dev/kvm: the processor or the firmware has "
		    "virtualisation off, or this host is itself a machine "
		    "without nested virtualisation");
	else
		snprintf(
		    p->why, sizeof(p->why), "/dev/kvm: %s", strerror(errno));
	return false;
}

static int write_floppy(struct kvm_probe *p, const char *dir, struct err *err)
{
	uint8_t sector[SECTOR_SIZE] = {0};
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct buf path = {0};

	buf_printf(&path, "%s/kvm-probe.XXXXXX", dir);
	p->floppy = buf_take(&path);
	fd = mkostemp(p->floppy, O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "%s", p->floppy);
	memcpy(sector, boot_code, sizeof(boot_code));
	sector[SECTOR_SIZE - 2] = 0x55;
	sector[SECTOR_SIZE - 1] = 0xaa;
	int r = write_all(fd, sector, sizeof(sector));
	if (r >= 0 && ftruncate(fd, FLOPPY_SIZE) < 0)
		r = -errno;
	return r < 0 ? err_errno(err, r, "%s", p->floppy) : 0;
}

static int start_probe(struct loop *l, struct kvm_probe *p, struct err *err)
{
	_cleanup_strv_ char **argv =
	    strv_new("qemu-system-x86_64", "-M", "pc,hpet=off", "-accel", "kvm",
		"-cpu", "host", "-m", "32M", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-blockdev", NULL);
	_cleanup_buf_ struct buf drive = {0};

	/* JSON, for the path may hold a comma. */
	buf_puts(&drive,
	    "{\"driver\":\"raw\",\"node-name\":\"floppy\",\"read-only\":true,"
	    "\"file\":{\"driver\":\"file\",\"filename\":");
	buf_json_string(&drive, p->floppy);
	buf_puts(&drive, "}}");
	strv_push(&argv, buf_str(&drive));
	strv_push(&argv, "-device");
	strv_push(&argv, "floppy,drive=floppy");
	strv_push(&argv, "-boot");
	strv_push(&argv, "a");
	strv_push(&argv, "-device");
	strv_push(&argv, "isa-debug-exit,iobase=0xf4,iosize=4");

	struct child_options o = {
	    .argv = argv,
	    .stdin_fd = -1,
	    .timeout = PROBE_TIMEOUT,
	    .output = on_output,
	    .done = on_done,
	    .userdata = p,
	};
	return child_start(l, &o, &p->child, err);
}

int kvm_probe_new(struct loop *l, const char *dir,
    void (*done)(bool usable, const char *why, void *userdata), void *userdata,
    struct kvm_probe **ret, struct err *err)
{
	struct kvm_probe *p = xcalloc(1, sizeof(*p));
	int r;

	p->done = done;
	p->userdata = userdata;
	if (!device_opens(p)) {
		r = loop_add_deferred(l, on_early, p, &p->early);
		if (r >= 0)
			loop_kick(p->early);
		else
			err_errno(err, r, "KVM probe");
	} else {
		r = write_floppy(p, dir, err);
		if (r >= 0)
			r = start_probe(l, p, err);
	}
	if (r < 0) {
		kvm_probe_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void kvm_probe_free(struct kvm_probe *p)
{
	if (!p)
		return;
	child_free(p->child);
	loop_source_free(p->early);
	if (p->floppy)
		unlink(p->floppy);
	free(p->floppy);
	buf_done(&p->words);
	free(p);
}
