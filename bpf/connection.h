/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * What is known of a socket, and how it is told. The state lives in socket storage: it is found by the socket's pointer alone, it is freed
 * with the socket, and it works for sockets that were there before the agent.
 */
#ifndef HEADWATER_CONNECTION_H
#define HEADWATER_CONNECTION_H

#include "kernel.h"
#include "event.h"
#include "ring.h"
#include "scope.h"

#define HW_DNS_PORT 53

/* How the bytes of a connection are told. */
enum hw_mode {
	HW_MODE_UNKNOWN = 0, /* nothing was said yet */
	HW_MODE_TURNS = 1,   /* HTTP/1: request and answer are paired here */
	HW_MODE_STREAM = 2,  /* chunks, paired by the agent */
	HW_MODE_OPAQUE = 3,  /* TLS, or the agent said that it cannot read it: nothing */
};

enum hw_turn_state {
	HW_TURN_IDLE = 0,     /* no request was seen */
	HW_TURN_ASKED = 1,    /* a request waits for its answer */
	HW_TURN_ANSWERED = 2, /* the answer has begun */
};

/* The value of `connections`: private to the programs. `data` follows `turn` without a hole, so that a record leaves in one copy. */
struct hw_socket {
	__u64 opened_ns;
	__u64 offset_received; /* bytes seen by the request programs, each the offset of the next chunk */
	__u64 offset_sent;
	__u64 counted_sent; /* bytes of tcp_sock that are in `flows` already */
	__u64 counted_received;
	__u64 request_offset;
	__u64 batch; /* sendmmsg, recvmmsg: its vector, and when its last message was seen */
	__u64 batch_ns;
	__u32 batch_next;
	__u32 turns;
	__u32 scope_generation;
	__u16 remote_family;
	__u8 remote_ip_set; /* UDP, not connected: the server that was asked last */
	__u8 unused1;
	__u8 remote_ip[16];
	__u8 mode;         /* enum hw_mode */
	__u8 state;        /* enum hw_turn_state */
	__u8 outside;      /* not in scope */
	__u8 announced;    /* HW_CONNECTION_OPENED is in the ring */
	__u8 established;
	__u8 closed;
	__u8 reset;
	__u8 overlapped;   /* HTTP/1 with several requests in flight: chunks, captured as far as they may be */
	__u8 gap;          /* bytes before the next record were not captured */
	__u8 unused2[7];
	__u64 sequence;     /* of chunks; raised by next_sequence only */
	__u64 identity;     /* fallback: tells a reused address from the socket that was there */
	struct hw_turn turn; /* its header is filled once per connection */
	__u8 data[2 * HW_TURN_REQUEST_MAX]; /* twice a request: what the verifier can prove */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct hw_socket);
} connections SEC(".maps");

/* Who listens where: gives an accepted connection its owner before the owner has touched it. Wildcard addresses have family 0. */
struct hw_listener_key {
	__u32 netns;
	__u16 port;
	__u16 family;
	__u8 ip[16];
};

struct hw_listener {
	__u64 cgroup;
	__u64 cookie;
	__u32 tgid;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct hw_listener_key);
	__type(value, struct hw_listener);
} listeners SEC(".maps");

static __always_inline __u16 hw_host_order(__u16 value)
{
	return __builtin_bswap16(value);
}

/* Copies an IPv6 address; one that carries IPv4 becomes IPv4, so that both ends of a connection name it alike. Answers the family. */
static __always_inline __u16 hw_copy_ip6(__u8 *to, const struct in6_addr *from)
{
	struct in6_addr address = *from;

	if (address.in6_u.u6_addr32[0] == 0 && address.in6_u.u6_addr32[1] == 0 && address.in6_u.u6_addr32[2] == __builtin_bswap32(0xffff)) {
		__builtin_memcpy(to, &address.in6_u.u6_addr32[3], 4);
		return HW_IPV4;
	}
	__builtin_memcpy(to, &address, 16);
	return HW_IPV6;
}

/* Fills zeroed addresses of a TCP or UDP socket. The local port comes from inet_sport: skc_num is 0 already when a socket closes. */
static __always_inline void hw_inet_addresses(struct sock *sk, struct hw_address *local, struct hw_address *remote)
{
	struct in6_addr address = {};

	local->port = hw_host_order(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	if (local->port == 0)
		local->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	remote->port = hw_host_order(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == HW_AF_INET6) {
		BPF_CORE_READ_INTO(&address, sk, __sk_common.skc_v6_rcv_saddr);
		local->family = hw_copy_ip6(local->ip, &address);
		BPF_CORE_READ_INTO(&address, sk, __sk_common.skc_v6_daddr);
		remote->family = hw_copy_ip6(remote->ip, &address);
		return;
	}
	address.in6_u.u6_addr32[0] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	__builtin_memcpy(local->ip, &address, 4);
	local->family = HW_IPV4;
	address.in6_u.u6_addr32[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	__builtin_memcpy(remote->ip, &address, 4);
	remote->family = HW_IPV4;
}

static __always_inline __u32 hw_socket_netns(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* The cgroup that the socket was made in: only where no process is at hand. */
static __always_inline __u64 hw_socket_cgroup(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
}

static __always_inline void hw_listener_key_of(struct hw_listener_key *key, __u32 netns, const struct hw_address *local)
{
	__u64 ip[2];

	key->netns = netns;
	key->port = local->port;
	__builtin_memcpy(ip, local->ip, 16);
	if (ip[0] == 0 && ip[1] == 0) {
		key->family = 0;
	} else {
		key->family = local->family;
		__builtin_memcpy(key->ip, ip, 16);
	}
}

/* The listener of a local address, by the address itself or by the wildcard; null where none is known. */
static __always_inline struct hw_listener *hw_find_listener(__u32 netns, const struct hw_address *local)
{
	struct hw_listener_key key = {};
	struct hw_listener *listener;

	hw_listener_key_of(&key, netns, local);
	listener = bpf_map_lookup_elem(&listeners, &key);
	if (listener || key.family == 0)
		return listener;
	key.family = 0;
	__builtin_memset(key.ip, 0, sizeof(key.ip));
	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline void hw_add_listener(__u32 netns, const struct hw_address *local, __u64 cookie, __u64 cgroup, __u32 tgid)
{
	struct hw_listener_key key = {};
	struct hw_listener listener = { .cgroup = cgroup, .cookie = cookie, .tgid = tgid };

	hw_listener_key_of(&key, netns, local);
	if (bpf_map_update_elem(&listeners, &key, &listener, BPF_ANY) != 0)
		hw_lose(HW_LOSS_LISTENERS);
}

/* Fills what every record of a connection shares. */
static __always_inline void hw_fill_header(struct hw_header *header, __u64 cookie, __u64 cgroup, __u64 pid_tgid, __u32 netns)
{
	header->version = HW_EVENT_VERSION;
	header->cookie = cookie;
	header->cgroup = cgroup;
	header->tgid = pid_tgid >> 32;
	header->tid = (__u32)pid_tgid;
	header->netns = netns;
}

/* Bytes of payload that an end has sent and received, each once, without what SYN and FIN take of the sequence numbers. */
struct hw_byte_counts {
	__u64 sent;
	__u64 received;
};

#define HW_SOCK_DONE (1UL << 1) /* enum sock_flags: the peer's FIN was received, bytes_received counts it as one */

static __always_inline void hw_read_bytes(struct tcp_sock *tcp, struct hw_byte_counts *counts)
{
	counts->sent = tcp->bytes_sent - tcp->bytes_retrans;
	counts->received = tcp->bytes_received;
	if (counts->received > 0 && (tcp->inet_conn.icsk_inet.sk.__sk_common.skc_flags & HW_SOCK_DONE))
		counts->received -= 1;
}

/* Begins the counting of a connection that was there before: what it moved until now is nobody's news. */
static __always_inline void hw_skip_bytes(struct hw_socket *socket, struct sock *sk)
{
	struct tcp_sock *tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	struct hw_byte_counts counts;

	if (!tcp)
		return;
	hw_read_bytes(tcp, &counts);
	socket->counted_sent = counts.sent;
	socket->counted_received = counts.received;
}

/* --- AF_UNIX -------------------------------------------------------------------------------------------------------------------------- */

/* Padded, so that a record of any length is a multiple of eight. */
struct hw_unix_record {
	struct hw_connection connection;
	char path[(HW_UNIX_PATH_MAX + 7) / 8 * 8];
};

/* Copies the path of a bound socket into a zeroed buffer, answers its length (0: not bound). */
static __always_inline __u32 hw_unix_path(struct sock *sk, char *path)
{
	struct unix_address *address = BPF_CORE_READ((struct unix_sock *)sk, addr);
	__u64 length;

	if (!address)
		return 0;
	length = (__u32)BPF_CORE_READ(address, len);
	if (length <= 2)
		return 0;
	length = HW_AT_MOST(length - 2, HW_UNIX_PATH_MAX);
	if (bpf_probe_read_kernel(path, length, (void *)address + bpf_core_field_offset(struct unix_address, name) + 2) != 0)
		return 0;
	return path[length - 1] == 0 && length > 1 ? length - 1 : length;
}

static __always_inline __u32 hw_unix_peer_tgid(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_peer_pid, numbers[0].nr);
}

/*
 * Server: accepted sockets carry the name of their listener. Client: its peer has a name. Neither: a socketpair between a process and its
 * child, which is no dependency.
 */
static __always_inline __u8 hw_unix_role(struct sock *sk)
{
	struct sock *peer;

	if (BPF_CORE_READ((struct unix_sock *)sk, addr))
		return HW_ROLE_SERVER;
	peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	if (peer && BPF_CORE_READ((struct unix_sock *)peer, addr))
		return HW_ROLE_CLIENT;
	return HW_ROLE_UNKNOWN;
}

/* The name that a connection was made to: that of the end that listened. */
static __always_inline __u32 hw_unix_name(struct sock *sk, __u8 role, char *path)
{
	if (role == HW_ROLE_CLIENT)
		return hw_unix_path(BPF_CORE_READ((struct unix_sock *)sk, peer), path);
	return hw_unix_path(sk, path);
}

#endif
