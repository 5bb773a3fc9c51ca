/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream of the guest's, with a socket on the outside: console and
 * serial port. One client at a time. All functions are for the io thread.
 */
#ifndef FTD_PORT_H
#define FTD_PORT_H

#include "output.h"

struct ftd_vm;

#define PORT_INPUT_BYTES 4096

struct port {
	struct ftd_vm *vm;
	enum output_channel_id channel;
	bool may_block;		/* output waits for a slow client; else what it does not take is lost to it */
	bool polls;		/* the guest does not always tell when it can take input again */
	size_t (*receive)(struct ftd_vm *vm, const void *data, size_t length);	/* into the guest; vm->devices is held */
	int epoll_fd, listener_fd, client_fd;
	int log_fd;		/* gets all output as well; -1: none */
	uint32_t listener_token, client_token;
	uint32_t client_events;
	char input[PORT_INPUT_BYTES];
	size_t input_at, input_len;
};

void port_close(struct port *port);
void port_listen(struct port *port, int fd);
void port_log(struct port *port, int fd);
void port_accept(struct port *port);
void port_client_event(struct port *port, uint32_t events);
/* Gives the guest what it has not taken yet. */
void port_feed(struct port *port);
/* Input waits, and nobody will say when the guest can take it. */
bool port_must_poll(const struct port *port);
/* Lets output go that may leave; true: some did. */
bool port_release(struct port *port);

#endif
