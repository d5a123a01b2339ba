/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* UDP is observed to and from name servers only: the server that an unconnected socket asks, and the messages of one call. */
#ifndef HEADWATER_DNS_NAME_H
#define HEADWATER_DNS_NAME_H

#include "connection.h"
#include "user-buffer.h"

struct hw_name {
	__u16 family;
	__u16 port;
	__u32 ip4; /* IPv6: flow information */
	__u8 ip6[16];
	__u32 scope;
};

/* The server that an unconnected socket asks: true when it is a name server, remembered when it is another one than before. */
static __always_inline bool read_dns_name(const struct hw_io *io, struct hw_name *name)
{
	__u32 length = io->name_length;

	if (io->name == 0 || length < 16)
		return false;
	if (length > sizeof(*name))
		length = sizeof(*name);
	if (bpf_probe_read_user(name, length, (void *)io->name) != 0)
		return false;
	return name->port == __builtin_bswap16(HW_DNS_PORT) && (name->family == HW_AF_INET || name->family == HW_AF_INET6);
}

static __noinline int remember_name(struct sock *sk, struct hw_socket *socket, const struct hw_io *io)
{
	struct hw_name name = {};
	__u64 before[2], after[2];

	if (!socket || !io || io->direction != HW_SENT || socket->turn.header.role != HW_ROLE_CLIENT || !read_dns_name(io, &name))
		return 0;
	__builtin_memcpy(before, socket->remote_ip, 16);
	__builtin_memset(socket->remote_ip, 0, 16);
	if (name.family == HW_AF_INET) {
		__builtin_memcpy(socket->remote_ip, &name.ip4, 4);
		socket->remote_family = HW_IPV4;
	} else {
		struct in6_addr address;

		__builtin_memcpy(&address, name.ip6, 16);
		socket->remote_family = hw_copy_ip6(socket->remote_ip, &address);
	}
	__builtin_memcpy(after, socket->remote_ip, 16);
	if (before[0] != after[0] || before[1] != after[1] || !socket->remote_ip_set) {
		socket->remote_ip_set = 1;
		socket->announced = 0;
	}
	return 0;
}

/* Which message of a sendmmsg or recvmmsg this is: the same vector within a moment, until all its messages were seen. */
#define HW_BATCH_NS 10000000ULL
static __always_inline __u32 index_of_message(struct hw_socket *socket, const struct hw_call *call, __u64 now)
{
	if (call->kind != HW_BUFFER_MESSAGES)
		return 0;
	if (call->index >= 0)
		return call->index;
	if (socket->batch != call->argument2 || now - socket->batch_ns > HW_BATCH_NS || socket->batch_next >= (__u32)call->argument3)
		socket->batch_next = 0;
	socket->batch = call->argument2;
	socket->batch_ns = now;
	return socket->batch_next++;
}

#endif
