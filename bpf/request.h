/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * What processes say to each other: one state machine for `request.bpf.c` and `request-fallback.bpf.c`, which differ in how a transfer is
 * noticed and where the state of its socket lives. HTTP/1 is paired here, because one request is in flight on a connection; everything else
 * leaves in chunks. Functions that are not static are verified once for all their callers: that keeps the whole far below the verifier's
 * limit. The including file defines, before it includes this one:
 *   hw_socket_find(sk)          the state of a socket, or null
 *   hw_socket_make(sk)          the same, made zeroed (null: counted)
 *   hw_socket_cookie(sk)        its cookie
 *   hw_socket_adopted(socket, sk)  called for a TCP connection that was there before
 *   HW_RECORD_FLAGS             flags of every record
 */
#ifndef HEADWATER_REQUEST_H
#define HEADWATER_REQUEST_H

#include "connection.h"
#include "dns-name.h"
#include "http-turn.h"
#include "tell.h"
#include "user-buffer.h"

/* --- which protocol -------------------------------------------------------------------------------------------------------------------- */

/* The role of a connection that was there before follows from who asks. False where what is said contradicts what is known. */
static __always_inline bool settle_role(struct hw_socket *socket, __u8 role)
{
	if (socket->turn.header.role == role)
		return true;
	if (socket->turn.header.role != HW_ROLE_UNKNOWN && !(socket->turn.header.flags & (HW_FLAG_EXISTING | HW_FLAG_FALLBACK)))
		return false;
	socket->turn.header.role = role;
	socket->announced = 0;
	return true;
}

/* Decides how a connection is told from the first bytes that are said on it, in whichever direction. */
static __always_inline void decide_mode(struct hw_socket *socket, const struct hw_io *io)
{
	__u8 head[16] = {};
	__u32 length = hw_fetch(head, sizeof(head), sizeof(head), io);
	bool received = io->direction == HW_RECEIVED;

	if (length == 0) {
		socket->gap = 1;
		return;
	}
	socket->mode = HW_MODE_STREAM;
	if (head[0] >= 0x14 && head[0] <= 0x17 && head[1] == 3 && head[2] <= 4 && length >= 3)
		socket->mode = HW_MODE_OPAQUE;
	else if (hw_is_request(head, length) && settle_role(socket, received ? HW_ROLE_SERVER : HW_ROLE_CLIENT))
		socket->mode = HW_MODE_TURNS;
	else if (hw_is_answer_start(head, length) && settle_role(socket, received ? HW_ROLE_CLIENT : HW_ROLE_SERVER))
		socket->mode = HW_MODE_TURNS;
}

/* --- sockets --------------------------------------------------------------------------------------------------------------------------- */

/* Transport of a socket that may be observed, 0 of all others. `role` is set where it follows from the socket alone. */
static __always_inline __u8 observable_transport(struct sock *sk, const struct hw_io *io, __u8 *role)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u16 protocol;

	if (family == HW_AF_UNIX) {
		if (BPF_CORE_READ(sk, sk_type) != HW_SOCK_STREAM)
			return 0;
		*role = hw_unix_role(sk);
		return *role == HW_ROLE_UNKNOWN ? 0 : HW_LOCAL;
	}
	if (family != HW_AF_INET && family != HW_AF_INET6)
		return 0;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol == HW_IPPROTO_TCP)
		return HW_TCP;
	if (protocol != HW_IPPROTO_UDP)
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_num) == HW_DNS_PORT) {
		*role = HW_ROLE_SERVER;
		return HW_UDP;
	}
	*role = HW_ROLE_CLIENT;
	if (BPF_CORE_READ(sk, __sk_common.skc_dport) != __builtin_bswap16(HW_DNS_PORT)) {
		struct hw_name name;

		if (io->direction != HW_SENT || !read_dns_name(io, &name))
			return 0;
	}
	return HW_UDP;
}

/* Begins with a socket that has no state: one of before the agent, or one of the kinds that have no tracepoint of their own. */
static __noinline struct hw_socket *adopt_socket(struct sock *sk, const struct hw_io *io)
{
	struct hw_address local = {}, remote = {};
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 cgroup = bpf_get_current_cgroup_id();
	struct hw_socket *socket;
	__u8 role = HW_ROLE_UNKNOWN;
	__u32 netns;
	__u8 transport;

	if (!io)
		return NULL;
	transport = observable_transport(sk, io, &role);
	if (transport == 0 || !hw_in_scope(cgroup, pid_tgid >> 32))
		return NULL;
	socket = hw_socket_make(sk);
	if (!socket)
		return NULL;
	netns = hw_socket_netns(sk);
	hw_fill_header(&socket->turn.header, hw_socket_cookie(sk), cgroup, pid_tgid, netns);
	socket->turn.header.flags = HW_RECORD_FLAGS;
	if (transport == HW_TCP) {
		hw_inet_addresses(sk, &local, &remote);
		role = hw_find_listener(netns, &local) ? HW_ROLE_SERVER : HW_ROLE_CLIENT;
		socket->turn.header.flags |= HW_FLAG_EXISTING;
		hw_socket_adopted(socket, sk);
	}
	if (transport == HW_UDP)
		socket->mode = HW_MODE_STREAM;
	socket->turn.header.role = role;
	socket->turn.header.transport = transport;
	socket->established = 1;
	socket->scope_generation = hw_settings.scope_generation;
	return socket;
}

/* Another process than before speaks (one that accepted what another listened for), or the scope was changed. */
__noinline int renew_owner(struct hw_socket *socket)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 cgroup = bpf_get_current_cgroup_id();

	if (!socket)
		return 0;
	socket->turn.header.tgid = pid_tgid >> 32;
	socket->turn.header.cgroup = cgroup;
	socket->scope_generation = hw_settings.scope_generation;
	socket->outside = !hw_in_scope(cgroup, pid_tgid >> 32);
	return 0;
}

/* One transfer of `io->bytes` bytes; 0 is the end of a stream. */
static __always_inline void observe(struct sock *sk, struct hw_io *io, struct hw_call *call)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct hw_socket *socket;
	__u64 now, offset;

	if (pid_tgid >> 32 == hw_settings.self_tgid)
		return;
	socket = hw_socket_find(sk);
	if (socket && io->bytes == 0) {
		if (socket->turn.header.transport == HW_LOCAL && !socket->closed && !socket->outside) {
			tell_unix_end(socket);
			/* A client that says no more can still read. */
			if (socket->turn.header.role == HW_ROLE_CLIENT)
				tell_unanswered(socket, bpf_ktime_get_ns(), 0);
		}
		return;
	}
	if (io->bytes == 0)
		return;
	now = bpf_ktime_get_ns();
	if (!socket) {
		hw_locate(io, call, call->index > 0 ? call->index : 0);
		socket = adopt_socket(sk, io);
		if (!socket)
			return;
		if (socket->turn.header.transport == HW_LOCAL)
			socket->opened_ns = now;
	}
	if (socket->turn.header.tgid != pid_tgid >> 32 || socket->scope_generation != hw_settings.scope_generation)
		renew_owner(socket);
	if (socket->outside)
		return;
	if (io->direction == HW_SENT) {
		offset = socket->offset_sent;
		socket->offset_sent = offset + io->bytes;
	} else {
		offset = socket->offset_received;
		socket->offset_received = offset + io->bytes;
	}
	if (socket->mode == HW_MODE_OPAQUE)
		return;
	socket->turn.header.tid = (__u32)pid_tgid;
	hw_locate(io, call, index_of_message(socket, call, now));
	if (socket->turn.header.transport == HW_UDP)
		remember_name(sk, socket, io);
	if (socket->mode == HW_MODE_UNKNOWN)
		decide_mode(socket, io);
	if (!socket->announced)
		tell_opened(sk, socket);
	if (socket->mode == HW_MODE_TURNS)
		observe_turns(socket, io, offset, now);
	else if (socket->mode == HW_MODE_STREAM)
		tell_chunk(socket, io, offset, now);
}

#endif
