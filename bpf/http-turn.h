/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/*
 * HTTP/1 on one connection: a request, then the first bytes of its answer, make a turn. As soon as a second request is in flight the
 * connection becomes a stream.
 */
#ifndef HEADWATER_HTTP_TURN_H
#define HEADWATER_HTTP_TURN_H

#include "connection.h"
#include "http-head.h"
#include "tell.h"
#include "user-buffer.h"

/* Turns at the beginning of a connection whose requests are searched for a second one: a client that pipelines does so early. */
#define HW_PIPELINE_TURNS 4

static __always_inline bool is_request_side(const struct hw_socket *socket, __u8 direction)
{
	return (direction == HW_RECEIVED) == (socket->turn.header.role == HW_ROLE_SERVER);
}

static __always_inline __u32 request_max(void)
{
	__u32 max = hw_settings.turn_request_max;

	return max > HW_TURN_REQUEST_MAX ? HW_TURN_REQUEST_MAX : max;
}

/* From here on chunks: more than one request is in flight. */
static __always_inline void begin_overlap(struct hw_socket *socket)
{
	socket->overlapped = 1;
	socket->mode = HW_MODE_STREAM;
}

/* Bytes that are searched for the end of a head. */
#define HW_SEARCH_MAX 252

/*
 * Whether more follows the head of a request without a body: another request. A hundred bytes take about as many steps, so this is asked
 * only of the first requests of a connection.
 */
__noinline int holds_second_request(struct hw_socket *socket)
{
	__u32 length;

	if (!socket || !hw_has_no_body(socket->data))
		return 0;
	length = socket->turn.request_length;
	for (__u32 index = 0; index < HW_SEARCH_MAX; index++) {
		if (index + 4 >= length)
			return 0;
		if (hw_word(socket->data + index) == HW_WORD('\r', '\n', '\r', '\n'))
			return 1;
	}
	return 0;
}

/* A request begins: `length` bytes of it are in `data`. */
static __always_inline void begin_request(struct hw_socket *socket, const struct hw_io *io, __u32 length, __u64 offset, __u64 now)
{
	socket->state = HW_TURN_ASKED;
	socket->request_offset = offset;
	socket->turn.request_ns = now;
	socket->turn.request_bytes = io->bytes;
	socket->turn.request_length = length;
	socket->turn.response_ns = 0;
	socket->turn.response_bytes = 0;
	socket->turn.response_length = 0;
	if (socket->turns < HW_PIPELINE_TURNS && holds_second_request(socket)) {
		begin_overlap(socket);
		tell_chunk(socket, io, offset, now);
	}
}

/* More of a request whose answer has not begun: its body, the rest of its head, or another request. */
__noinline int continue_request(struct hw_socket *socket, struct hw_io *io, __u64 offset, __u64 now)
{
	__u32 length, max = request_max();
	__u8 head[16] = {};

	if (!socket || !io)
		return 0;
	length = socket->turn.request_length;
	if (length == 0 || length > HW_TURN_REQUEST_MAX)
		return 0;
	if (hw_has_no_body(socket->data) && hw_is_request(head, hw_fetch(head, sizeof(head), sizeof(head), io))) {
		begin_overlap(socket);
		tell_waiting_request(socket);
		tell_chunk(socket, io, offset, now);
		return 0;
	}
	socket->turn.request_bytes += io->bytes;
	/* A head that stopped within a line goes on here; what follows a line's end is a body, which is not copied. */
	if (length >= max || socket->data[length - 1] == '\n')
		return 0;
	length += hw_fetch(socket->data + HW_AT_MOST(length, HW_TURN_REQUEST_MAX), max - length, HW_TURN_REQUEST_MAX, io);
	if (length <= HW_TURN_REQUEST_MAX)
		socket->turn.request_length = length;
	return 0;
}

/* An interim answer (1xx) may bring the final one along: moves that to the front. True when there is a final answer to tell. */
static __always_inline bool skip_interim(struct hw_socket *socket, __u32 request_length, __u32 *response_length)
{
	__u8 *response = socket->data + request_length;
	__u32 left = *response_length;

	if (left >= HW_INTERIM_LENGTH + HW_STATUS_LENGTH && hw_is_answer(response + HW_INTERIM_LENGTH)) {
		left -= HW_INTERIM_LENGTH;
		if (bpf_probe_read_kernel(response, HW_TURN_RESPONSE_MAX - HW_INTERIM_LENGTH, response + HW_INTERIM_LENGTH) == 0) {
			*response_length = left;
			return true;
		}
	}
	socket->turn.response_length = 0;
	socket->turn.response_ns = 0;
	return false;
}

/* Bytes of the answer: the first of them make the turn. */
static __always_inline void begin_answer(struct hw_socket *socket, const struct hw_io *io, __u64 now)
{
	__u32 request_length = socket->turn.request_length;
	__u32 have = socket->turn.response_length;
	__u32 got;

	if (request_length > HW_TURN_REQUEST_MAX || have > HW_TURN_RESPONSE_MAX)
		return;
	if (have == 0)
		socket->turn.response_ns = now;
	got = hw_fetch(socket->data + HW_AT_MOST(request_length + have, HW_TAIL_MAX), HW_TURN_RESPONSE_MAX - have, HW_TURN_RESPONSE_MAX, io);
	have += got;
	socket->turn.response_bytes += io->bytes;
	if (got > 0 && have < HW_STATUS_LENGTH) {
		socket->turn.response_length = have;
		return;
	}
	if (got == 0)
		socket->gap = 1;
	if (have >= HW_STATUS_LENGTH && hw_is_answer(socket->data + request_length)) {
		__u8 *status = socket->data + request_length + HW_STATUS_OFFSET;

		if (status[0] == '1' && !(status[1] == '0' && status[2] == '1') && !skip_interim(socket, request_length, &have))
			return;
		/* 101: another protocol begins. */
		if (status[0] == '1')
			socket->mode = HW_MODE_STREAM;
	}
	socket->state = HW_TURN_ANSWERED;
	if (have > HW_TURN_RESPONSE_MAX)
		have = HW_TURN_RESPONSE_MAX;
	tell_turn(socket, request_length, have, 0);
}

/* An answer nobody asked for: its request came together with another one. Counted as a turn without a request; chunks from here on. */
__noinline int unexpected_answer(struct hw_socket *socket, const struct hw_io *io, __u64 now)
{
	__u32 length;

	if (!socket || !io)
		return 0;
	socket->turn.request_length = 0;
	length = hw_fetch(socket->data, HW_TURN_RESPONSE_MAX, HW_TURN_RESPONSE_MAX, io);
	if (length > HW_TURN_RESPONSE_MAX || !hw_is_answer_start(socket->data, length))
		return 0;
	socket->turn.response_ns = now;
	socket->turn.request_bytes = 0;
	socket->turn.response_bytes = io->bytes;
	socket->gap = 1;
	tell_turn(socket, 0, length, HW_FLAG_OVERLAP);
	begin_overlap(socket);
	return 0;
}

#define HW_SHUTDOWN_BOTH 3 /* sk_shutdown of a socket that its process has closed */

/*
 * Whether there was, or can still be, an answer that the programs have not seen: it waits to be read, or it went another way than they look
 * (io_uring; sendfile in the fallback). What was sent counts once the other end has it. A FIN counts as a byte here, a SYN may.
 */
static __always_inline bool may_be_answered(struct hw_socket *socket, struct sock *sk)
{
	struct tcp_sock *tcp = (struct tcp_sock *)sk;
	bool whole = !(socket->turn.header.flags & HW_FLAG_EXISTING);
	__u32 unread;

	if (socket->turn.header.role == HW_ROLE_SERVER)
		return whole && BPF_CORE_READ(tcp, bytes_acked) > socket->offset_sent + 2;
	unread = BPF_CORE_READ(tcp, rcv_nxt) - BPF_CORE_READ(tcp, copied_seq);
	if (unread > 1 && BPF_CORE_READ(sk, sk_shutdown) != HW_SHUTDOWN_BOTH)
		return true;
	return whole && BPF_CORE_READ(tcp, bytes_received) > socket->offset_received + unread + 1;
}

/* A request waits, and no answer will come any more: a turn without one, told once, whatever the server still writes. */
__noinline int tell_unanswered(struct hw_socket *socket, __u64 now, __u32 flags)
{
	__u32 length;

	if (!socket)
		return 0;
	length = socket->turn.request_length;
	if (socket->mode != HW_MODE_TURNS || socket->state != HW_TURN_ASKED || socket->outside || length > HW_TURN_REQUEST_MAX)
		return 0;
	socket->state = HW_TURN_IDLE;
	socket->turn.response_ns = now;
	socket->turn.response_bytes = 0;
	tell_turn(socket, length, 0, HW_FLAG_UNANSWERED | flags);
	return 0;
}

/*
 * A TCP connection is closed. On one host an answer that is written too late is what closes it, by a reset, and the tracepoint of that write
 * comes after this one.
 */
static __always_inline void close_turn(struct hw_socket *socket, struct sock *sk, int old_state)
{
	bool reset = socket->reset || old_state == HW_TCP_ESTABLISHED || old_state == HW_TCP_CLOSE_WAIT;

	if (socket->state != HW_TURN_ASKED || may_be_answered(socket, sk))
		return;
	tell_unanswered(socket, bpf_ktime_get_ns(), reset || BPF_CORE_READ(sk, sk_err) ? HW_FLAG_RESET : 0);
}

static __always_inline void observe_turns(struct hw_socket *socket, struct hw_io *io, __u64 offset, __u64 now)
{
	__u32 length;

	if (is_request_side(socket, io->direction)) {
		if (socket->state == HW_TURN_ASKED) {
			continue_request(socket, io, offset, now);
			return;
		}
		length = hw_fetch(socket->data, hw_settings.turn_request_max, HW_TURN_REQUEST_MAX, io);
		if (length <= HW_TURN_REQUEST_MAX && hw_is_request(socket->data, length))
			begin_request(socket, io, length, offset, now);
		return;
	}
	if (socket->state == HW_TURN_ASKED)
		begin_answer(socket, io, now);
	else if (socket->state == HW_TURN_ANSWERED)
		unexpected_answer(socket, io, now);
}

#endif
