/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * Requests, from the tracepoints of the socket itself: they fire in the process, once per transfer, with the socket and the byte count, and
 * cost nothing where no socket is used. The buffer is found through the registers of the system call.
 */
#include "connection.h"

#define HW_RECORD_FLAGS 0

static __always_inline struct hw_socket *hw_socket_find(struct sock *sk)
{
	return bpf_sk_storage_get(&connections, sk, NULL, 0);
}

static __always_inline struct hw_socket *hw_socket_make(struct sock *sk)
{
	struct hw_socket *socket = bpf_sk_storage_get(&connections, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!socket)
		hw_lose(HW_LOSS_CONNECTIONS);
	return socket;
}

static __always_inline __u64 hw_socket_cookie(struct sock *sk)
{
	return bpf_get_socket_cookie(sk);
}

static __always_inline void hw_socket_adopted(struct hw_socket *socket, struct sock *sk)
{
	hw_skip_bytes(socket, sk);
}

#include "request.h"

static __always_inline int observe_transfer(struct sock *sk, __u32 bytes, __u8 direction)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct hw_io io = { .bytes = bytes, .direction = direction };
	struct hw_call call;

	if (task->flags & HW_PF_KTHREAD)
		return 0;
	hw_read_call(&call, (struct pt_regs *)bpf_task_pt_regs(task));
	/* A call that moves data the other way has no buffer of this transfer: sendfile from a socket and the like. */
	if (call.direction != direction)
		call.kind = HW_BUFFER_NONE;
	observe(sk, &io, &call);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(hw_request_sent, struct sock *sk, int result)
{
	if (result <= 0 || hw_settings.level < 2)
		return 0;
	return observe_transfer(sk, result, HW_SENT);
}

#define HW_MSG_PEEK 0x2
#define HW_MSG_TRUNC 0x20
#define HW_MSG_ERRQUEUE 0x2000

SEC("tp_btf/sock_recv_length")
int BPF_PROG(hw_request_received, struct sock *sk, int result, int flags)
{
	/* Peeked bytes come again; an error queue holds none; a truncated datagram has more bytes than its buffer. */
	if (result < 0 || hw_settings.level < 2 || flags & (HW_MSG_PEEK | HW_MSG_TRUNC | HW_MSG_ERRQUEUE))
		return 0;
	return observe_transfer(sk, result, HW_RECEIVED);
}

/* Closed, by whichever end: what was asked on it and not answered. Once per connection, in a process or in a softirq. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(hw_request_closed, struct sock *sk, int old_state, int new_state)
{
	struct hw_socket *socket;

	if (new_state != HW_TCP_CLOSE || hw_settings.level < 2 || sk->sk_protocol != HW_IPPROTO_TCP)
		return 0;
	socket = hw_socket_find(sk);
	if (socket)
		close_turn(socket, sk, old_state);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
