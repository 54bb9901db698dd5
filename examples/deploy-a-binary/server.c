/* SPDX-License-Identifier: Apache-2.0
 *
 * The example's program: an HTTP server on port 8080 that answers every request
 * with its version.  It knows nothing of rackfs.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "0"
#endif

#define PORT     8080
#define PATIENCE 5 /* seconds for a client that says nothing */

/* Reads the request's head and forgets it. */
static int read_head(int client)
{
	char head[4096];
	size_t len = 0;

	while (len < sizeof(head) - 1) {
		ssize_t n = read(client, head + len, sizeof(head) - 1 - len);

		if (n <= 0)
			return -1;
		len += (size_t)n;
		head[len] = '\0';
		if (strstr(head, "\r\n\r\n"))
			return 0;
	}
	return -1;
}

static void serve(int client)
{
	static const char body[] = "version " VERSION "\n";
	const struct timeval patience = {.tv_sec = PATIENCE};

	setsockopt(
	    client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (read_head(client) == 0)
		dprintf(client,
		    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
		    "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		    sizeof(body) - 1, body);
	close(client);
}

int main(void)
{
	const struct sockaddr_in address = {
	    .sin_family = AF_INET,
	    .sin_port = htons(PORT),
	};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 16) < 0) {
		perror("server: port 8080");
		return 1;
	}
	printf("server: version " VERSION ", port %d\n", PORT);
	fflush(stdout);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client >= 0)
			serve(client);
	}
}
