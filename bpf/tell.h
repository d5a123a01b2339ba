/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* How a connection, its turns and its chunks get into the rings. */
#ifndef HEADWATER_TELL_H
#define HEADWATER_TELL_H

#include "connection.h"
#include "user-buffer.h"

HW_RING(data_ring, HW_DATA_RING_BYTES);
HW_RING(lifecycle_ring, HW_LIFECYCLE_RING_BYTES);

/* Cookies of connections that the agent cannot read: written by the agent, taken out again by the program that has obeyed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} ignored_connections SEC(".maps");

/* Records of one connection between two looks into `ignored_connections`, less one: a power of two less one. */
#define HW_IGNORED_MASK 15

static __always_inline void fill_inet(struct hw_socket *socket, struct hw_connection *connection, struct sock *sk)
{
	hw_inet_addresses(sk, &connection->local, &connection->remote);
	if (socket->remote_ip_set) {
		__builtin_memcpy(connection->remote.ip, socket->remote_ip, 16);
		connection->remote.port = HW_DNS_PORT;
		connection->remote.family = socket->remote_family;
	}
}

/* Tells of a connection that nobody has told of, or whose record did not fit. */
static __noinline int tell_opened(struct sock *sk, struct hw_socket *socket)
{
	struct hw_unix_record record = {};
	struct hw_connection *connection = &record.connection;
	__u32 length = 0;

	if (!socket)
		return 0;
	connection->header = socket->turn.header;
	connection->header.type = HW_CONNECTION_OPENED;
	connection->header.at_ns = bpf_ktime_get_ns();
	if (connection->header.transport == HW_LOCAL) {
		connection->local.family = HW_UNIX;
		connection->remote.family = HW_UNIX;
		connection->remote.peer_tgid = hw_unix_peer_tgid(sk);
		length = hw_unix_name(sk, connection->header.role, record.path);
		connection->header.tail_length = length;
	} else {
		fill_inet(socket, connection, sk);
	}
	socket->announced = hw_submit(&lifecycle_ring, &record, sizeof(struct hw_connection) + HW_AT_MOST(length, HW_UNIX_PATH_MAX),
				      HW_LOSS_LIFECYCLE_RING);
	return 0;
}

/* The other process closed a connection of AF_UNIX: there is no tracepoint for that, the end of the stream was read. */
__noinline int tell_unix_end(struct hw_socket *socket)
{
	struct hw_connection_end record = {};

	if (!socket)
		return 0;
	socket->closed = 1;
	record.header = socket->turn.header;
	record.header.type = HW_CONNECTION_CLOSED;
	record.header.at_ns = bpf_ktime_get_ns();
	record.local.family = HW_UNIX;
	record.remote.family = HW_UNIX;
	record.opened_ns = socket->opened_ns;
	record.bytes_sent = socket->offset_sent;
	record.bytes_received = socket->offset_received;
	hw_submit(&lifecycle_ring, &record, sizeof(record), HW_LOSS_LIFECYCLE_RING);
	return 0;
}

/* Tries of a processor that meets another one on the same connection. */
#define HW_SEQUENCE_TRIES 4

/*
 * The number of the next chunk: one thread may send while another receives. Compare and exchange instead of an addition that answers, which
 * clang has for newer instruction sets only.
 */
static __always_inline __u32 next_sequence(struct hw_socket *socket)
{
	__u64 seen, number = socket->sequence;

	for (int tries = 0; tries < HW_SEQUENCE_TRIES; tries++) {
		seen = __sync_val_compare_and_swap(&socket->sequence, number, number + 1);
		if (seen == number)
			break;
		number = seen;
	}
	return number + 1;
}

static __always_inline void fill_chunk(struct hw_chunk *chunk, struct hw_socket *socket, __u8 direction, __u64 now)
{
	chunk->header = socket->turn.header;
	chunk->header.type = HW_CHUNK;
	chunk->header.at_ns = now;
	chunk->header.direction = direction;
	if (socket->gap) {
		socket->gap = 0;
		chunk->header.flags |= HW_FLAG_GAP;
	}
	if (socket->overlapped)
		chunk->header.flags |= HW_FLAG_OVERLAP;
	chunk->sequence = next_sequence(socket);
}

static __always_inline void submit_chunk(struct hw_scratch *scratch, __u32 length)
{
	scratch->chunk.header.tail_length = length;
	if (length < scratch->chunk.bytes)
		scratch->chunk.header.flags |= HW_FLAG_TRUNCATED;
	hw_submit(&data_ring, scratch, sizeof(struct hw_chunk) + HW_AT_MOST(length, HW_CHUNK_MAX), HW_LOSS_DATA_RING);
}

/* The part of a transfer that begins `at` bytes behind its first, in one chunk: the last one stands for all bytes that are left. */
__noinline int tell_part(struct hw_socket *socket, const struct hw_io *io, __u64 offset, __u64 now, __u64 from_to)
{
	struct hw_scratch *scratch = hw_scratch();
	__u32 at = from_to >> 32, end = (__u32)from_to;
	struct hw_io part = {};

	if (!socket || !io || !scratch || at >= io->bytes)
		return 0;
	part = *io;
	part.bytes -= at;
	part.skipped = at;
	part.buffer = at < part.buffer_length || part.vector_count == 0 ? part.buffer + at : 0;
	part.buffer_length = at < part.buffer_length ? part.buffer_length - at : 0;
	fill_chunk(&scratch->chunk, socket, io->direction, now);
	scratch->chunk.offset = offset + at;
	scratch->chunk.bytes = end - at > HW_CHUNK_MAX ? HW_CHUNK_MAX : part.bytes;
	submit_chunk(scratch, hw_fetch_to_scratch(scratch, end - at, &part));
	return 0;
}

/* What is captured beyond its first chunk must not push others out: none of it while more than a quarter of the ring waits. */
static __always_inline bool ring_has_room(void)
{
	return bpf_ringbuf_query(&data_ring, BPF_RB_AVAIL_DATA) < bpf_ringbuf_query(&data_ring, BPF_RB_RING_SIZE) / 4;
}

/* The agent cannot read this connection: it is obeyed at the next look. */
static __always_inline void obey(struct hw_socket *socket)
{
	__u64 cookie = socket->turn.header.cookie;

	if (bpf_map_lookup_elem(&ignored_connections, &cookie)) {
		socket->mode = HW_MODE_OPAQUE;
		bpf_map_delete_elem(&ignored_connections, &cookie);
	}
}

/* One transfer of a stream. */
__noinline int tell_chunk(struct hw_socket *socket, const struct hw_io *io, __u64 offset, __u64 now)
{
	__u32 max = hw_settings.chunk_bytes_max;
	__u32 before, at = 0;

	if (!socket || !io || (hw_settings.level < 3 && !socket->overlapped))
		return 0;
	if (hw_settings.level >= 4 || socket->overlapped)
		max = HW_TRANSFER_MAX;
	if (max > io->bytes)
		max = io->bytes;
	if (max > HW_CHUNK_MAX && !ring_has_room())
		max = HW_CHUNK_MAX;
	before = socket->sequence;
	for (int part = 0; part < HW_TRANSFER_MAX / HW_CHUNK_MAX; part++) {
		tell_part(socket, io, offset, now, (__u64)at << 32 | max);
		at += HW_CHUNK_MAX;
		if (at >= max)
			break;
	}
	if ((before | HW_IGNORED_MASK) < socket->sequence)
		obey(socket);
	return 0;
}

/* The request that waits, as the chunk that it would have been: its connection turned out to be a stream. */
__noinline int tell_waiting_request(struct hw_socket *socket)
{
	struct hw_scratch *scratch = hw_scratch();
	__u32 length;

	if (!socket || !scratch)
		return 0;
	length = socket->turn.request_length;
	if (length > HW_TURN_REQUEST_MAX)
		length = HW_TURN_REQUEST_MAX;
	fill_chunk(&scratch->chunk, socket, socket->turn.header.role == HW_ROLE_SERVER ? HW_RECEIVED : HW_SENT, socket->turn.request_ns);
	scratch->chunk.offset = socket->request_offset;
	scratch->chunk.bytes = socket->turn.request_bytes;
	if (length > 0 && bpf_probe_read_kernel(scratch->data, length, socket->data) != 0)
		length = 0;
	submit_chunk(scratch, length);
	return 0;
}

/* The turn, in one copy: the answer stands behind the request already. */
#define HW_TAIL_MAX (HW_TURN_REQUEST_MAX + HW_TURN_RESPONSE_MAX)
static __always_inline void tell_turn(struct hw_socket *socket, __u32 request_length, __u32 response_length, __u8 flags)
{
	struct hw_turn *turn = &socket->turn;
	__u8 kept = turn->header.flags;

	turn->header.type = HW_TURN;
	turn->header.at_ns = turn->response_ns;
	turn->header.tail_length = request_length + response_length;
	turn->header.direction = turn->header.role == HW_ROLE_SERVER ? HW_SENT : HW_RECEIVED;
	turn->request_length = request_length;
	turn->response_length = response_length;
	turn->sequence = ++socket->turns;
	if (turn->request_bytes > request_length)
		flags |= HW_FLAG_TRUNCATED;
	if (socket->gap) {
		socket->gap = 0;
		flags |= HW_FLAG_GAP;
	}
	turn->header.flags |= flags;
	hw_submit(&data_ring, turn, sizeof(struct hw_turn) + HW_AT_MOST(request_length + response_length, HW_TAIL_MAX), HW_LOSS_DATA_RING);
	turn->header.flags = kept;
	turn->header.direction = 0;
	turn->header.tail_length = 0;
}

#endif
