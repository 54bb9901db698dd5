/* SPDX-License-Identifier: Apache-2.0
 *
 * UEFI for machines that boot by it: OVMF as Debian's package has it.  The
 * code is read where it lies; each launch has a fresh copy of the variables,
 * so nothing that a guest leaves in them can keep the next run from booting:
 * what boots is EFI/BOOT/BOOTX64.EFI of the first disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "machine_qemu.h"

#define CODE     "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define VARS     "/usr/share/OVMF/OVMF_VARS_4M.fd"
#define VARS_MAX (4 * MIB)

const char *qemu_uefi_code(void)
{
	return CODE;
}

int qemu_uefi_check(struct err *err)
{
	static const char *const files[] = {CODE, VARS};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (access(files[i], R_OK) < 0)
			return err_set(err, -errno,
			    "boot.firmware is \"uefi\", and %s can't be "
			    "read; run: sudo apt-get install ovmf",
			    files[i]);
	return 0;
}

int qemu_uefi_prepare(int folder, struct err *err)
{
	_cleanup_buf_ struct buf vars = {0};
	int r = file_read(AT_FDCWD, VARS, VARS_MAX, &vars);

	if (r < 0)
		return err_errno(err, r, "%s", VARS);
	r = file_replace(folder, UEFI_VARS, vars.data, vars.len, 0600);
	return r < 0 ? err_errno(err, r, "a copy of %s", VARS) : 0;
}
