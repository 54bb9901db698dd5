/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk image of the user's, raw or qcow2, told by its first bytes.  It is
 * used where it is, once its digest is known and nothing in it leads to another
 * file of this host (docs/interop/qcow2 of QEMU tells the header).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/image_source.h"

#define HEAD_MAX   512
#define SECTOR     512
#define DISK_MAX   (64ULL << 40)
#define CHECK_GOOD 0
#define CHECK_LEAK 3 /* qemu-img check: room is lost, data is not */
/* Bits of incompatible_features. */
#define FEATURE_CORRUPT (1u << 1)
#define FEATURE_DATA    (1u << 2)

static uint64_t number(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	while (len--)
		v = v << 8 | *p++;
	return v;
}

/* What people take for a disk image, and QEMU would read as something else. */
static int check_other(const char *path, const uint8_t *b, struct err *err)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *what, *mend;
	} others[] = {
	    {"\x1f\x8b", 2, "compressed by gzip", "gunzip"},
	    {"BZh", 3, "compressed by bzip2", "bunzip2"},
	    {"\xfd"
	     "7zXZ",
		5, "compressed by xz", "unxz"},
	    {"\x28\xb5\x2f\xfd", 4, "compressed by zstd", "unzstd"},
	    {"PK\x03\x04", 4, "a zip archive", "unzip"},
	    {"KDMV", 4, "a VMDK image", "qemu-img convert -O qcow2"},
	    {"vhdxfile", 8, "a VHDX image", "qemu-img convert -O qcow2"},
	    {"conectix", 8, "a VPC image", "qemu-img convert -O qcow2"},
	    {"QED", 4, "a QED image", "qemu-img convert -O qcow2"},
	    {"<<< ", 4, "a VDI image", "qemu-img convert -O qcow2"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (memcmp(b, others[i].magic, others[i].len) == 0)
			return err_set(err, -EINVAL,
			    "source: %s is %s; a disk image is raw or qcow2: "
			    "use %s first",
			    path, others[i].what, others[i].mend);
	return 0;
}

static int check_qcow2(struct source_job *j, const uint8_t *b, struct err *err)
{
	uint64_t version = number(b + 4, 4);
	uint64_t features = version >= 3 ? number(b + 72, 8) : 0;

	if (version != 2 && version != 3)
		return err_set(err, -EINVAL,
		    "source: %s is qcow2 of version %llu, not 2 or 3",
		    j->source, (unsigned long long)version);
	if (number(b + 8, 8))
		return err_set(err, -EINVAL,
		    "source: %s has a backing file, which is another file of "
		    "this host; make one of both: qemu-img convert -O qcow2",
		    j->source);
	if (features & FEATURE_DATA)
		return err_set(err, -EINVAL,
		    "source: %s has its data in another file; make one of "
		    "both: qemu-img convert -O qcow2",
		    j->source);
	if (number(b + 32, 4))
		return err_set(err, -EINVAL,
		    "source: %s is encrypted, and there is no way to give its "
		    "key",
		    j->source);
	if (features & FEATURE_CORRUPT)
		return err_set(err, -EINVAL,
		    "source: %s is marked as corrupt; see qemu-img check",
		    j->source);
	j->format = FORMAT_QCOW2;
	j->size = number(b + 24, 8);
	return 0;
}

static int look_at(struct source_job *j, struct err *err)
{
	_cleanup_close_ int fd = -1;
	uint8_t b[HEAD_MAX] = {0};
	struct stat st;
	int r;

	fd = open(j->source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(
		    err, -errno, "source: %s can't be read", j->source);
	if (!S_ISREG(st.st_mode))
		return err_set(
		    err, -EINVAL, "source: %s is not a plain file", j->source);
	if (pread(fd, b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return err_set(err, -EINVAL,
		    "source: %s is too small for a disk image: %lld bytes",
		    j->source, (long long)st.st_size);
	if (memcmp(b, "QFI\xfb", 4) == 0) {
		r = check_qcow2(j, b, err);
	} else {
		r = check_other(j->source, b, err);
		j->format = FORMAT_RAW;
		/* As QEMU shows it to a guest. */
		j->size = ((uint64_t)st.st_size + SECTOR - 1) / SECTOR * SECTOR;
	}
	if (r == 0 && (!j->size || j->size > DISK_MAX))
		r = err_set(err, -EINVAL,
		    "source: %s says that its disk has %llu bytes", j->source,
		    (unsigned long long)j->size);
	return r;
}

static int before(
    struct source_job *j, const char *data_dir, char ***argv, struct err *err)
{
	int r = look_at(j, err);

	/* Finds clusters that are beyond the end, too. */
	if (r == 0 && j->format == FORMAT_QCOW2)
		*argv = strv_new("qemu-img", "check", "-f", "qcow2", j->source,
		    (char *)NULL);
	return r;
}

static bool status_is_good(int status)
{
	return status == CHECK_GOOD || status == CHECK_LEAK;
}

static int make(struct source_job *j, struct err *err)
{
	_cleanup_(tar_in_freep) struct tar_in *in = NULL;
	int r = tar_in_open(j->input, true, &j->watch, &in, err);

	return r < 0 ? r : tar_in_check(in, j->sha256, j->digest, err);
}

static const struct image_source kind = {
    .kind = "disk",
    .before = before,
    .status_is_good = status_is_good,
    .make = make,
};

static int disk_open(const struct driver_env *env, void **ret, struct err *err)
{
	return image_source_open(&kind, env, ret, err);
}

const struct image_driver image_disk = {
    .name = "disk",
    .help = "a disk image of your own, raw or qcow2",
    .available = image_source_available,
    .open = disk_open,
    .close = image_source_close,
    .observe = image_source_observe,
    .look = image_source_look,
    .ensure = image_source_ensure,
};
