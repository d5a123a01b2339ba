/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * What was there before the agent: every socket of every process of the host, over all network namespaces, as records in the iterator's
 * file. Two passes: listeners first, because the role of a connection follows from them. A socket that several processes hold is told
 * once per process.
 */
#include "connection.h"

/* The socket of the iterator's file with its owner, where it is one of a process in scope. */
struct owned_socket {
	struct sock *sk;
	__u64 cgroup;
	__u64 pid_tgid;
	__u16 family;
	__u16 protocol;
	__u8 state;
};

static __always_inline bool read_owned(struct bpf_iter__task_file *ctx, struct owned_socket *owned)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return false;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return false;
	sk = socket->sk;
	if (!sk)
		return false;
	owned->sk = sk;
	owned->family = sk->__sk_common.skc_family;
	owned->protocol = sk->sk_protocol;
	owned->state = sk->__sk_common.skc_state;
	owned->cgroup = task->cgroups->dfl_cgrp->kn->id;
	owned->pid_tgid = (__u64)task->tgid << 32 | (__u32)task->pid;
	if (owned->family == HW_AF_UNIX)
		return sk->sk_type == HW_SOCK_STREAM;
	if (owned->family != HW_AF_INET && owned->family != HW_AF_INET6)
		return false;
	return owned->protocol == HW_IPPROTO_TCP || owned->protocol == HW_IPPROTO_UDP;
}

static __always_inline bool is_dns(struct sock *sk)
{
	return sk->__sk_common.skc_num == HW_DNS_PORT || sk->__sk_common.skc_dport == __builtin_bswap16(HW_DNS_PORT);
}

static __always_inline __u8 transport_of(const struct owned_socket *owned)
{
	if (owned->family == HW_AF_UNIX)
		return HW_LOCAL;
	return owned->protocol;
}

SEC("iter/task_file")
int hw_list_listeners(struct bpf_iter__task_file *ctx)
{
	struct owned_socket owned = {};
	struct hw_unix_record record = {};
	struct hw_connection *connection = &record.connection;
	__u32 length = 0;

	if (!read_owned(ctx, &owned))
		return 0;
	if (owned.protocol == HW_IPPROTO_UDP) {
		if (owned.sk->__sk_common.skc_num != HW_DNS_PORT)
			return 0;
	} else if (owned.state != HW_TCP_LISTEN) {
		return 0;
	}
	hw_fill_header(&connection->header, bpf_get_socket_cookie(owned.sk), owned.cgroup, owned.pid_tgid, hw_socket_netns(owned.sk));
	connection->header.type = HW_LISTENER;
	connection->header.at_ns = bpf_ktime_get_ns();
	connection->header.role = HW_ROLE_SERVER;
	connection->header.transport = transport_of(&owned);
	connection->header.flags = HW_FLAG_EXISTING;
	if (owned.family == HW_AF_UNIX) {
		connection->local.family = HW_UNIX;
		connection->remote.family = HW_UNIX;
		length = hw_unix_path(owned.sk, record.path);
	} else {
		hw_inet_addresses(owned.sk, &connection->local, &connection->remote);
		if (owned.protocol == HW_IPPROTO_TCP)
			hw_add_listener(connection->header.netns, &connection->local, connection->header.cookie, owned.cgroup,
					owned.pid_tgid >> 32);
	}
	if (!hw_in_scope(owned.cgroup, owned.pid_tgid >> 32))
		return 0;
	connection->header.tail_length = length;
	/* The tail is padded: the next record begins at a multiple of eight. */
	bpf_seq_write(ctx->meta->seq, &record, sizeof(struct hw_connection) + ((length + 7) & ~7U & 127));
	return 0;
}

/* The state of a connection that had none; one that the programs made already is left as it is, but for an owner that was not known. */
static __always_inline struct hw_socket *adopt(const struct owned_socket *owned, const struct hw_connection *connection)
{
	struct hw_socket *socket = bpf_sk_storage_get(&connections, owned->sk, NULL, 0);

	if (socket) {
		if (socket->turn.header.tgid == 0) {
			socket->turn.header.tgid = owned->pid_tgid >> 32;
			socket->turn.header.cgroup = owned->cgroup;
		}
		return socket;
	}
	socket = bpf_sk_storage_get(&connections, owned->sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!socket) {
		hw_lose(HW_LOSS_CONNECTIONS);
		return NULL;
	}
	socket->turn.header = connection->header;
	socket->established = 1;
	socket->announced = 1;
	if (owned->protocol == HW_IPPROTO_TCP)
		hw_skip_bytes(socket, owned->sk);
	socket->scope_generation = hw_settings.scope_generation;
	return socket;
}

SEC("iter/task_file")
int hw_list_connections(struct bpf_iter__task_file *ctx)
{
	struct owned_socket owned = {};
	struct hw_unix_record record = {};
	struct hw_connection *connection = &record.connection;
	struct hw_socket *socket;
	__u32 length = 0;

	if (!read_owned(ctx, &owned) || !hw_in_scope(owned.cgroup, owned.pid_tgid >> 32))
		return 0;
	if (owned.protocol == HW_IPPROTO_UDP) {
		if (!is_dns(owned.sk) || owned.state != HW_TCP_ESTABLISHED)
			return 0;
	} else if (owned.state == HW_TCP_LISTEN || owned.state == HW_TCP_CLOSE || owned.state == HW_TCP_SYN_SENT) {
		return 0;
	}
	hw_fill_header(&connection->header, bpf_get_socket_cookie(owned.sk), owned.cgroup, owned.pid_tgid, hw_socket_netns(owned.sk));
	connection->header.type = HW_CONNECTION_OPENED;
	connection->header.at_ns = bpf_ktime_get_ns();
	connection->header.transport = transport_of(&owned);
	connection->header.flags = HW_FLAG_EXISTING;
	if (owned.family == HW_AF_UNIX) {
		connection->header.role = hw_unix_role(owned.sk);
		if (connection->header.role == HW_ROLE_UNKNOWN)
			return 0;
		connection->local.family = HW_UNIX;
		connection->remote.family = HW_UNIX;
		connection->remote.peer_tgid = hw_unix_peer_tgid(owned.sk);
		length = hw_unix_name(owned.sk, connection->header.role, record.path);
	} else {
		hw_inet_addresses(owned.sk, &connection->local, &connection->remote);
		if (owned.protocol == HW_IPPROTO_UDP)
			connection->header.role = connection->local.port == HW_DNS_PORT ? HW_ROLE_SERVER : HW_ROLE_CLIENT;
		else
			connection->header.role = hw_find_listener(connection->header.netns, &connection->local) ? HW_ROLE_SERVER
														 : HW_ROLE_CLIENT;
	}
	socket = adopt(&owned, connection);
	if (!socket)
		return 0;
	connection->header.role = socket->turn.header.role;
	connection->header.tail_length = length;
	bpf_seq_write(ctx->meta->seq, &record, sizeof(struct hw_connection) + ((length + 7) & ~7U & 127));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
