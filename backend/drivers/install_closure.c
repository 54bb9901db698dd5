/* SPDX-License-Identifier: Apache-2.0
 *
 * Installs a NixOS system closure that was built elsewhere: its store paths,
 * their registration in the store's database, the profile that names the
 * system, and what the system itself does to be booted.  Nothing is evaluated,
 * built or fetched.  What nixos-install does is the model (nixos-install and
 * nixos-enter of nixpkgs).
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/install_guest.h"

#define STORE          "/nix/store/"
#define ACTIVE_TIMEOUT (1800 * USEC_PER_SEC)

char *install_top(const char *init)
{
	static const char end[] = "/init";
	size_t len = strlen(init), n = sizeof(end) - 1, top = sizeof(STORE) - 1;

	if (strncmp(init, STORE, top) != 0 || len <= top + n ||
	    !STREQ(init + len - n, end))
		return NULL;
	/* One name below the store, and a plain one. */
	if (strspn(init + top,
		"0123456789abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?=") != len - n - top ||
	    init[top] == '.')
		return NULL;
	return xstrndup(init, len - n);
}

static int check(const struct install *in, struct err *err)
{
	_cleanup_free_ char *top = install_top(in->image->init);
	const char *registration = in->image->registration;
	struct stat st;

	if (!top)
		return err_set(err, -EINVAL,
		    "init: \"%s\" is not the init of a system in " STORE
		    ": it is /nix/store/<hash>-<name>/init",
		    in->image->init);
	return registration[0] ? install_source(registration, NULL, &st, err)
			       : 0;
}

/* --- the store ------------------------------------------------------------ */

/* $0: the root, $1: top.  stdin: what `nix-store --dump-db` printed: for each
 * path a line with it, its hash, its size, its deriver, how many references
 * it has, and these.  Paths and references must all be there. */
static const char register_script[] =
    "root=$0 top=$1 file=$0/nix/rackfs-registration\n"
    "trap 'rm -f \"$file\" /run/rackfs-list; "
    "for m in proc dev; do umount -l \"$root/$m\" 2>/dev/null; done' EXIT\n"
    "mkdir -p \"$root/nix/store\" && cat >\"$file\" || exit\n"
    "awk 'state == 0 { print; state = 1; next }\n"
    "	state == 4 { left = $1; state = left ? 5 : 0; next }\n"
    "	state == 5 { print; if (!--left) state = 0; next }\n"
    "	{ state++ }\n"
    "	END { exit state != 0 }' \"$file\" | sort -u >/run/rackfs-list\n"
    "n=0 bad=0\n"
    "while read -r p; do\n"
    "	case $p in /nix/store/*) ;; *)\n"
    "		echo 'the registration is no output of nix-store "
    "--dump-db' >&2; exit 1 ;;\n"
    "	esac\n"
    "	n=$((n + 1))\n"
    "	[ -e \"$root$p\" ] || [ -L \"$root$p\" ] || {\n"
    "		bad=$((bad + 1)); [ $bad -gt 5 ] || echo \"$p\" >&2; }\n"
    "done </run/rackfs-list\n"
    "[ $bad = 0 ] || {\n"
    "	echo \"$bad of $n paths of the closure are missing\" >&2; exit 1; }\n"
    "echo \"$n paths\"\n"
    "if [ -x \"$root$top/sw/bin/nix-store\" ] ||\n"
    "	[ -L \"$root$top/sw/bin/nix-store\" ]; then\n"
    "	mkdir -p \"$root/proc\" \"$root/dev\" &&\n"
    "	mount -t proc proc \"$root/proc\" &&\n"
    "	mount -o bind /dev \"$root/dev\" || exit\n"
    "	NIX_REMOTE= chroot \"$root\" \"$top/sw/bin/nix-store\" --load-db \\\n"
    "		<\"$file\" || exit\n"
    "	echo registered\n"
    "else\n"
    "	echo 'no nix in it: not registered'\n"
    "fi\n";

static void put_registration(struct install *in)
{
	_cleanup_free_ char *top = install_top(in->image->init);
	char *args[] = {in->root, top, NULL};

	if (!in->image->registration[0] || install_is_made(in)) {
		install_next(in);
		return;
	}
	op_progress(in->call.op, 99, "registering the closure");
	install_run(in, &(struct install_run){
			    .what = xstrdup("register the closure"),
			    .script = register_script,
			    .args = args,
			    .source = in->image->registration,
			    .timeout = ACTIVE_TIMEOUT,
			    .after = install_next,
			});
}

/* --- the system ----------------------------------------------------------- */

/* $0: the root, $1: top. */
static const char activate_script[] =
    "root=$0 top=$1 profiles=$0/nix/var/nix/profiles\n"
    "trap 'for m in run sys proc dev tmp; do "
    "umount -l \"$root/$m\" 2>/dev/null; done' EXIT\n"
    "[ -x \"$root$top/init\" ] || [ -L \"$root$top/init\" ] || {\n"
    "	echo \"$top/init is not in the closure\" >&2; exit 1; }\n"
    "chown 0:30000 \"$root/nix/store\" && chmod 1775 \"$root/nix/store\" &&\n"
    "mkdir -p \"$profiles\" \"$root/nix/var/nix/gcroots\" \"$root/etc\" &&\n"
    "ln -sfn \"$top\" \"$profiles/system-1-link\" &&\n"
    "ln -sfn system-1-link \"$profiles/system\" &&\n"
    "ln -sfn /nix/var/nix/profiles \"$root/nix/var/nix/gcroots/profiles\" &&\n"
    ": >\"$root/etc/NIXOS\" || exit\n"
    "for d in dev proc sys run; do mkdir -p \"$root/$d\"; done\n"
    "mkdir -p \"$root/tmp\" && chmod 1777 \"$root/tmp\"\n"
    "s=/nix/var/nix/profiles/system/bin/switch-to-configuration\n"
    "[ -e \"$root$top/bin/switch-to-configuration\" ] ||\n"
    "	[ -L \"$root$top/bin/switch-to-configuration\" ] || {\n"
    "	echo 'no switch-to-configuration in it'; sync; exit; }\n"
    "mount -o bind /dev \"$root/dev\" && mount -t proc proc \"$root/proc\" &&\n"
    "mount -t sysfs sysfs \"$root/sys\" && mount -t tmpfs tmpfs \"$root/run\" "
    "&&\n"
    "mount -t tmpfs tmpfs \"$root/tmp\" || exit\n"
    "ln -s \"$top\" \"$root/run/current-system\"\n"
    "ln -sfn /proc/mounts \"$root/etc/mtab\"\n"
    "NIXOS_INSTALL_BOOTLOADER=1 LOCALE_ARCHIVE= \\\n"
    "	PATH=/run/current-system/sw/bin:$top/sw/bin:/bin \\\n"
    "	chroot \"$root\" $s boot </dev/null || exit\n"
    "echo switched; sync\n";

static void activate(struct install *in)
{
	_cleanup_free_ char *top = install_top(in->image->init);
	char *args[] = {in->root, top, NULL};

	if (install_is_made(in)) {
		install_next(in);
		return;
	}
	op_progress(in->call.op, 99, "switch-to-configuration boot");
	install_run(in, &(struct install_run){
			    .what = xstrdup("switch to the configuration"),
			    .script = activate_script,
			    .args = args,
			    .timeout = ACTIVE_TIMEOUT,
			    .after = install_next,
			});
}

/* --- the driver ----------------------------------------------------------- */

/* Links of the store are absolute: they count from the root. */
static const char own_kernel[] =
    "own() { l=$(readlink \"$1$2\") && echo \"$1$l\" || echo \"$1$2\"; }\n"
    "own_kernel() {\n"
    "	kernel=$(own \"$1\" \"$2/kernel\")\n"
    "	initrd=$(own \"$1\" \"$2/initrd\")\n"
    "}\n";

static const install_step steps[] = {install_first_look, install_copy,
    put_registration, activate, install_modules, install_esp, install_boot_mark,
    NULL};

static const struct install_kind kind = {
    /* Everything in a store is root's, whoever has built it. */
    .owner = "--no-same-owner",
    .check = check,
    .steps = steps,
    .own_kernel = own_kernel,
};

static int closure_open(
    const struct driver_env *env, void **ret, struct err *err)
{
	return install_guest_open(env, &kind, ret, err);
}

const struct install_driver install_closure = {
    .name = "closure",
    .help = "a NixOS system closure that was built elsewhere",
    .available = install_guest_available,
    .open = closure_open,
    .close = install_guest_close,
    .observe = install_guest_observe,
    .look = install_guest_look,
    .ensure = install_guest_ensure,
    .seal = install_guest_seal,
};
