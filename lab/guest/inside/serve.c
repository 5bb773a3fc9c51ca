/*
 * serve PORT PROGRAM [ARGUMENT]...: a PROGRAM for each TCP connection, with the connection as its standard input, output
 * and error output.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 16

static int fail(const char *what)
{
	fprintf(stderr, "serve: %s: %s\n", what, strerror(errno));
	return 1;
}

static void become(char **program, int connection)
{
	/* An ignored signal stays ignored through exec, and a shell must see its children end. */
	signal(SIGCHLD, SIG_DFL);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(connection, fd);
	if (connection > STDERR_FILENO)
		close(connection);
	execv(program[0], program);
	_exit(fail(program[0]));
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int yes = 1;
	int listener;
	long port;

	port = argc >= 3 ? strtol(argv[1], NULL, 10) : 0;
	if (port < 1 || port > 65535) {
		fprintf(stderr, "usage: serve PORT PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	address.sin_port = htons((unsigned short)port);
	signal(SIGCHLD, SIG_IGN);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, BACKLOG) < 0)
		return fail(argv[1]);
	for (;;) {
		int connection = accept(listener, NULL, NULL);

		if (connection < 0)
			continue;
		setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		if (fork() == 0)
			become(argv + 2, connection);
		close(connection);
	}
}
