/* SPDX-License-Identifier: Apache-2.0
 *
 * What of the toy system of system.nix runs before there is /lib64: static.
 * As `init` it puts links where Debian's programs look for each other and goes
 * over into stage-2; as `switch-to-configuration` it says what it was asked;
 * as `nix-store` it is that, with the loader and libraries beside it.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef NIX
static int run(int argc, char **argv)
{
	char *args[64] = {
	    "ld", "--library-path", NIX "/lib", NIX "/libexec/nix-store"};

	for (int i = 1; i < argc && i < 59; i++)
		args[3 + i] = argv[i];
	execv(NIX "/lib/ld-linux-x86-64.so.2", args);
	return 127;
}
#else
/* The installer has put modules into a folder /lib. */
static void fill_lib(void)
{
	DIR *d = opendir(BASE "/usr/lib");
	struct dirent *e;

	mkdir("/lib", 0755);
	while (d && (e = readdir(d))) {
		char from[512], to[512];

		snprintf(from, sizeof(from), BASE "/usr/lib/%s", e->d_name);
		snprintf(to, sizeof(to), "/lib/%s", e->d_name);
		if (e->d_name[0] != '.')
			(void)!symlink(from, to);
	}
}

static int run(int argc, char **argv)
{
	if (strstr(argv[0], "switch-to-configuration")) {
		const char *loader = getenv("NIXOS_INSTALL_BOOTLOADER");
		FILE *f = fopen("/etc/switched", "w");

		if (f)
			fprintf(f, "%s %s\n", argc > 1 ? argv[1] : "",
			    loader ? loader : "");
		return f && fclose(f) == 0 ? 0 : 1;
	}
	(void)!symlink(BASE "/usr", "/usr");
	(void)!symlink("usr/bin", "/bin");
	(void)!symlink("usr/sbin", "/sbin");
	(void)!symlink("usr/lib64", "/lib64");
	fill_lib();
	execl("/bin/sh", "sh", SYSTEM "/stage-2", NULL);
	perror("stage-2");
	return 1;
}
#endif

int main(int argc, char **argv)
{
	return run(argc, argv);
}
