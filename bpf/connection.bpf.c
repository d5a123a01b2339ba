/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * TCP connections: opened, accepted, refused, reset, retransmitted, closed, and what each dependency moved. Nothing here runs per request:
 * bytes and round-trip times of open connections are read from the kernel's own counters by `hw_read_flows` once a second, so that this
 * level costs a connection that stays open nothing at all.
 */
#include "flow.h"

#define HW_ECANCELED 125     /* given up by its process before it was established */
#define HW_EADDRNOTAVAIL 99  /* connect() itself failed after the state was set: no local port */

#if defined(__TARGET_ARCH_x86)
#define HW_NUMBER_OF(regs) ((regs)->orig_ax)
#define HW_SYSCALL_CONNECT 42
#elif defined(__TARGET_ARCH_arm64)
#define HW_NUMBER_OF(regs) ((regs)->syscallno)
#define HW_SYSCALL_CONNECT 203
#endif

HW_RING(lifecycle_ring, HW_LIFECYCLE_RING_BYTES);

static __always_inline void count_opened(struct hw_socket *socket, struct sock *sk, __u64 now)
{
	struct hw_connection record = {};
	struct hw_flow_value *flow;

	record.header = socket->turn.header;
	record.header.type = HW_CONNECTION_OPENED;
	record.header.at_ns = now;
	hw_inet_addresses(sk, &record.local, &record.remote);
	socket->opened_ns = now;
	socket->established = 1;
	flow = hw_flow_of(&record.header, &record.local, &record.remote);
	if (flow)
		__sync_fetch_and_add(&flow->opened, 1);
	socket->announced = hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
}

/* connect() was called: in the process that did. The state of a socket that connects once more begins anew. */
static __always_inline void on_connect(struct sock *sk, __u64 now)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 cgroup = bpf_get_current_cgroup_id();
	struct hw_socket *socket;

	if (!hw_in_scope(cgroup, pid_tgid >> 32))
		return;
	bpf_sk_storage_delete(&connections, sk);
	socket = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!socket) {
		hw_lose(HW_LOSS_CONNECTIONS);
		return;
	}
	hw_fill_header(&socket->turn.header, bpf_get_socket_cookie(sk), cgroup, pid_tgid, hw_socket_netns(sk));
	socket->turn.header.role = HW_ROLE_CLIENT;
	socket->turn.header.transport = HW_TCP;
	socket->opened_ns = now;
	socket->scope_generation = hw_settings.scope_generation;
}

/* The handshake of an accepted connection ended: in a softirq, so its owner is who listens there. */
static __always_inline void on_accepted(struct sock *sk, __u64 now)
{
	struct hw_address local = {}, remote = {};
	struct hw_listener *listener;
	struct hw_socket *socket;
	__u32 netns = hw_socket_netns(sk);
	__u64 cgroup, pid_tgid = 0;

	hw_inet_addresses(sk, &local, &remote);
	listener = hw_find_listener(netns, &local);
	if (listener) {
		cgroup = listener->cgroup;
		pid_tgid = (__u64)listener->tgid << 32;
	} else {
		cgroup = hw_socket_cgroup(sk);
	}
	if (!hw_in_scope(cgroup, pid_tgid >> 32))
		return;
	socket = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!socket) {
		hw_lose(HW_LOSS_CONNECTIONS);
		return;
	}
	hw_fill_header(&socket->turn.header, bpf_get_socket_cookie(sk), cgroup, pid_tgid, netns);
	socket->turn.header.role = HW_ROLE_SERVER;
	socket->turn.header.transport = HW_TCP;
	socket->scope_generation = hw_settings.scope_generation;
	count_opened(socket, sk, now);
}

static __always_inline void on_listen(struct sock *sk, __u64 now)
{
	struct hw_connection record = {};
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u64 cookie = bpf_get_socket_cookie(sk);
	__u32 netns = hw_socket_netns(sk);

	hw_inet_addresses(sk, &record.local, &record.remote);
	/* Also of processes out of scope: what they accept must be known to be theirs. */
	hw_add_listener(netns, &record.local, cookie, cgroup, pid_tgid >> 32);
	if (!hw_in_scope(cgroup, pid_tgid >> 32))
		return;
	hw_fill_header(&record.header, cookie, cgroup, pid_tgid, netns);
	record.header.type = HW_LISTENER;
	record.header.at_ns = now;
	record.header.role = HW_ROLE_SERVER;
	record.header.transport = HW_TCP;
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
}

/* close() of a listener, in its process. */
static __always_inline void on_listener_closed(struct sock *sk, __u64 now)
{
	struct hw_connection_end record = {};
	struct hw_listener_key key = {};
	struct hw_listener *listener;
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u64 cookie = bpf_get_socket_cookie(sk);
	__u32 netns = hw_socket_netns(sk);

	hw_inet_addresses(sk, &record.local, &record.remote);
	hw_listener_key_of(&key, netns, &record.local);
	listener = bpf_map_lookup_elem(&listeners, &key);
	/* Several sockets can listen on one address: the row is that of the last one, and goes with it. */
	if (listener && listener->cookie == cookie)
		bpf_map_delete_elem(&listeners, &key);
	if (!hw_in_scope(cgroup, pid_tgid >> 32))
		return;
	hw_fill_header(&record.header, cookie, cgroup, pid_tgid, netns);
	record.header.type = HW_CONNECTION_CLOSED;
	record.header.at_ns = now;
	record.header.role = HW_ROLE_SERVER;
	record.header.transport = HW_TCP;
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
}

/* Why a connection was never established. */
static __always_inline __u16 error_of_failed(struct sock *sk)
{
	int error = BPF_CORE_READ(sk, sk_err);
	struct pt_regs *regs;

	if (error)
		return error;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return HW_NUMBER_OF(regs) == HW_SYSCALL_CONNECT ? HW_EADDRNOTAVAIL : HW_ECANCELED;
}

/*
 * How it ended. A close without a word, from a state in which both ends could still speak, is a reset sent by this end: its own tracepoint
 * comes only after this one.
 */
static __always_inline void fill_end(struct hw_connection_end *record, struct hw_socket *socket, struct sock *sk, int old_state)
{
	record->failed = !socket->established;
	if (record->failed) {
		record->error = error_of_failed(sk);
		record->reset = socket->reset;
		return;
	}
	record->error = BPF_CORE_READ(sk, sk_err);
	if (socket->reset == 0 && record->error == 0 && (old_state == HW_TCP_ESTABLISHED || old_state == HW_TCP_CLOSE_WAIT))
		socket->reset = 2;
	record->reset = socket->reset;
}

static __always_inline void on_closed(struct sock *sk, int old_state, __u64 now)
{
	struct hw_socket *socket = bpf_sk_storage_get(&connections, sk, NULL, 0);
	struct hw_connection_end record = {};
	struct hw_byte_counts bytes = {};
	struct hw_flow_value *flow;
	struct tcp_sock *tcp;

	if (!socket || socket->closed || socket->outside)
		return;
	socket->closed = 1;
	record.header = socket->turn.header;
	record.header.type = HW_CONNECTION_CLOSED;
	record.header.at_ns = now;
	record.opened_ns = socket->opened_ns;
	hw_inet_addresses(sk, &record.local, &record.remote);
	fill_end(&record, socket, sk, old_state);
	tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (tcp) {
		hw_read_bytes(tcp, &bytes);
		record.retransmits = tcp->total_retrans;
		record.round_trip_us = tcp->srtt_us >> 3;
	}
	record.bytes_sent = bytes.sent;
	record.bytes_received = bytes.received;
	flow = hw_flow_of(&record.header, &record.local, &record.remote);
	if (flow) {
		__sync_fetch_and_add(record.failed ? &flow->failed : &flow->closed, 1);
		if (record.reset)
			__sync_fetch_and_add(&flow->reset, 1);
		hw_count_bytes(flow, socket, &bytes);
		hw_count_round_trip(flow, record.round_trip_us);
	}
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
}

/* Half closed by its process: the moment to learn who owns an accepted connection that another process listened for. */
static __always_inline void on_half_closed(struct sock *sk)
{
	struct hw_socket *socket = bpf_sk_storage_get(&connections, sk, NULL, 0);
	__u64 pid_tgid = bpf_get_current_pid_tgid();

	if (!socket || socket->turn.header.role != HW_ROLE_SERVER || pid_tgid >> 32 == 0)
		return;
	socket->turn.header.tgid = pid_tgid >> 32;
	socket->turn.header.cgroup = bpf_get_current_cgroup_id();
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(hw_connection_state, struct sock *sk, int old_state, int new_state)
{
	__u64 now;

	if (hw_settings.level == 0 || sk->sk_protocol != HW_IPPROTO_TCP)
		return 0;
	now = bpf_ktime_get_ns();
	switch (new_state) {
	case HW_TCP_SYN_SENT:
		on_connect(sk, now);
		break;
	case HW_TCP_ESTABLISHED:
		if (old_state == HW_TCP_SYN_RECV) {
			on_accepted(sk, now);
		} else {
			struct hw_socket *socket = bpf_sk_storage_get(&connections, sk, NULL, 0);

			if (socket)
				count_opened(socket, sk, now);
		}
		break;
	case HW_TCP_LISTEN:
		on_listen(sk, now);
		break;
	case HW_TCP_FIN_WAIT1:
	case HW_TCP_LAST_ACK:
		on_half_closed(sk);
		break;
	case HW_TCP_CLOSE:
		if (old_state == HW_TCP_LISTEN)
			on_listener_closed(sk, now);
		else
			on_closed(sk, old_state, now);
		break;
	}
	return 0;
}

/* The row of a socket that is observed, or null. */
static __always_inline struct hw_flow_value *flow_of_socket(struct sock *sk, struct hw_socket *socket)
{
	struct hw_address local = {}, remote = {};

	hw_inet_addresses(sk, &local, &remote);
	return hw_flow_of(&socket->turn.header, &local, &remote);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(hw_connection_retransmit, struct sock *sk)
{
	struct hw_socket *socket = bpf_sk_storage_get(&connections, sk, NULL, 0);
	struct hw_flow_value *flow;

	if (!socket || socket->outside || hw_settings.level == 0)
		return 0;
	flow = flow_of_socket(sk, socket);
	if (flow)
		__sync_fetch_and_add(&flow->retransmits, 1);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(hw_connection_reset_received, struct sock *sk)
{
	struct hw_socket *socket = bpf_sk_storage_get(&connections, sk, NULL, 0);

	if (socket && socket->reset == 0)
		socket->reset = 1;
	return 0;
}

/* Without a socket (a segment for a closed port) there is nothing to tell here: the other end sees the refusal. */
SEC("tp_btf/tcp_send_reset")
int BPF_PROG(hw_connection_reset_sent, struct sock *sk)
{
	struct hw_socket *socket;
	struct hw_flow_value *flow;

	if (!sk || hw_settings.level == 0)
		return 0;
	socket = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (!socket || socket->outside || socket->reset)
		return 0;
	socket->reset = 2;
	if (!socket->closed)
		return 0;
	flow = flow_of_socket(sk, socket);
	if (flow)
		__sync_fetch_and_add(&flow->reset, 1);
	return 0;
}

/*
 * Brings `flows` up to date with every observed TCP connection that is open: run it before `flows` is read. It crosses network namespaces,
 * and visits observed sockets only. Nothing is written to its file.
 */
SEC("iter/bpf_sk_storage_map")
int hw_read_flows(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct hw_socket *socket = ctx->value;
	struct sock *sk = ctx->sk;
	struct hw_byte_counts bytes = {};
	struct hw_flow_value *flow;
	struct tcp_sock *tcp;

	if (!socket || !sk)
		return 0;
	if (socket->turn.header.transport != HW_TCP || !socket->established || socket->closed || socket->outside)
		return 0;
	tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return 0;
	hw_read_bytes(tcp, &bytes);
	if (bytes.sent == socket->counted_sent && bytes.received == socket->counted_received)
		return 0;
	flow = flow_of_socket(sk, socket);
	if (!flow)
		return 0;
	hw_count_bytes(flow, socket, &bytes);
	hw_count_round_trip(flow, tcp->srtt_us >> 3);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
