/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * The same requests for kernels without the socket's tracepoints (before 6.3): every system call's exit is looked at, and the socket found
 * through the table of open files. Dearer, and on all calls of the host; attach this or request.bpf.c, never both. A pointer found that way
 * is not trusted by the verifier, so the state is kept in a hash by the socket's address instead of in the socket.
 *
 * Not seen here: MSG_PEEK is known from the flags of the call; 32-bit programs, sendfile, splice and io_uring are not observed at all.
 */
#include "connection.h"

#define HW_RECORD_FLAGS HW_FLAG_FALLBACK

/* Rows leave with their TCP socket, or when another socket is found at the address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct hw_socket);
} fallback_connections SEC(".maps");

/* A new row begins as a copy of this: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hw_socket);
} fallback_empty SEC(".maps");

/* What a cookie is made of where the kernel gave none: this bit and the time. Below 2^53, exact in a double. */
#define HW_COOKIE_OWN (1ULL << 52)

/* Tells a socket from another one that had the same address before. */
static __always_inline __u64 identity_of(struct sock *sk)
{
	__u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	__u64 identity;

	if (cookie)
		return cookie;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == HW_AF_UNIX)
		return (__u64)BPF_CORE_READ((struct unix_sock *)sk, peer);
	identity = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	return 1ULL << 63 | identity << 16 | BPF_CORE_READ(sk, __sk_common.skc_dport);
}

static __always_inline struct hw_socket *hw_socket_find(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct hw_socket *socket = bpf_map_lookup_elem(&fallback_connections, &key);

	if (!socket || socket->identity == identity_of(sk))
		return socket;
	bpf_map_delete_elem(&fallback_connections, &key);
	return NULL;
}

static __always_inline struct hw_socket *hw_socket_make(struct sock *sk)
{
	__u64 key = (__u64)sk;
	__u32 zero = 0;
	struct hw_socket *empty = bpf_map_lookup_elem(&fallback_empty, &zero);
	struct hw_socket *socket;

	if (!empty)
		return NULL;
	bpf_map_update_elem(&fallback_connections, &key, empty, BPF_ANY);
	socket = bpf_map_lookup_elem(&fallback_connections, &key);
	if (!socket) {
		hw_lose(HW_LOSS_CONNECTIONS);
		return NULL;
	}
	socket->identity = identity_of(sk);
	return socket;
}

static __always_inline __u64 hw_socket_cookie(struct sock *sk)
{
	__u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);

	return cookie ? cookie : HW_COOKIE_OWN | (bpf_ktime_get_ns() & (HW_COOKIE_OWN - 1));
}

static __always_inline void hw_socket_adopted(struct hw_socket *socket, struct sock *sk)
{
	/* Who has a cookie was told of already, by connection.bpf.c or by the iterator; bytes are counted there too. */
	if (BPF_CORE_READ(sk, __sk_common.skc_cookie.counter)) {
		socket->announced = 1;
		socket->turn.header.flags &= ~HW_FLAG_EXISTING;
	}
}

#include "request.h"

#define HW_S_IFMT 0170000
#define HW_S_IFSOCK 0140000

/* The socket behind a file descriptor of the current process, null where it is no socket. */
static __always_inline struct sock *socket_of_descriptor(struct task_struct *task, __u32 descriptor)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = NULL;
	struct socket *socket;

	if (descriptor >= table->max_fds)
		return NULL;
	if (bpf_probe_read_kernel(&file, sizeof(file), table->fd + descriptor) != 0 || !file)
		return NULL;
	if ((BPF_CORE_READ(file, f_inode, i_mode) & HW_S_IFMT) != HW_S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return socket ? BPF_CORE_READ(socket, sk) : NULL;
}

#define HW_MSG_PEEK 0x2
#define HW_MSG_TRUNC 0x20
#define HW_MSG_ERRQUEUE 0x2000

/* Flags of a receiving call: where the call has them. */
static __always_inline __u64 flags_of_call(const struct hw_call *call)
{
	switch (call->kind) {
	case HW_BUFFER_NAMED:
	case HW_BUFFER_MESSAGES:
		return call->argument4;
	case HW_BUFFER_MESSAGE:
		return call->argument3;
	}
	return 0;
}

struct hw_messages {
	struct sock *sk;
	struct hw_call call;
};

/* One message of sendmmsg or recvmmsg: the kernel has written its length behind its header. */
static long observe_message(__u64 index, struct hw_messages *messages)
{
	struct hw_io io = { .direction = messages->call.direction };
	__u64 message = messages->call.argument2 + index * sizeof(struct hw_mmsghdr);
	__u32 length = 0;

	if (bpf_probe_read_user(&length, sizeof(length), (void *)(message + __builtin_offsetof(struct hw_mmsghdr, length))) != 0)
		return 1;
	if (length == 0)
		return 0;
	io.bytes = length;
	messages->call.index = index;
	observe(messages->sk, &io, &messages->call);
	return 0;
}

/* Messages of one call that are looked at. */
#define HW_MESSAGES_MAX 64

SEC("tp_btf/sys_exit")
int BPF_PROG(hw_request_exit, struct pt_regs *regs, long result)
{
	struct hw_messages messages = {};
	struct hw_call *call = &messages.call;
	struct task_struct *task;
	struct hw_io io = {};

	if (result < 0 || hw_settings.level < 2)
		return 0;
	hw_read_call(call, regs);
	if (call->kind == HW_BUFFER_NONE)
		return 0;
	task = bpf_get_current_task_btf();
	if (task->tgid == hw_settings.self_tgid || task->flags & HW_PF_KTHREAD)
		return 0;
	if (call->direction == HW_RECEIVED && flags_of_call(call) & (HW_MSG_PEEK | HW_MSG_TRUNC | HW_MSG_ERRQUEUE))
		return 0;
	messages.sk = socket_of_descriptor(task, call->descriptor);
	if (!messages.sk)
		return 0;
	if (call->kind == HW_BUFFER_MESSAGES) {
		bpf_loop(result > HW_MESSAGES_MAX ? HW_MESSAGES_MAX : result, observe_message, &messages, 0);
		return 0;
	}
	io.bytes = result;
	io.direction = call->direction;
	observe(messages.sk, &io, call);
	return 0;
}

/* Closed, by whichever end: what was asked on it and not answered. Once per connection, in a process or in a softirq. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(hw_request_ended, struct sock *sk, int old_state, int new_state)
{
	struct hw_socket *socket;

	if (new_state != HW_TCP_CLOSE || hw_settings.level < 2 || sk->sk_protocol != HW_IPPROTO_TCP)
		return 0;
	socket = hw_socket_find(sk);
	if (socket)
		close_turn(socket, sk, old_state);
	return 0;
}

/* The socket goes: its row with it. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(hw_request_destroyed, struct sock *sk)
{
	__u64 key = (__u64)sk;

	bpf_map_delete_elem(&fallback_connections, &key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
