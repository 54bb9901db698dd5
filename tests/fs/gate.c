/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that stops, for tests: preloaded, fsync(2) waits as long as the file
 * that $GATE names is there.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fsync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	const char *gate = getenv("GATE");

	while (gate && access(gate, F_OK) == 0)
		usleep(5000);
	return real(fd);
}
