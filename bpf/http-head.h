/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* The little of HTTP/1 that is read in the kernel: whether bytes begin a request or an answer. */
#ifndef HEADWATER_HTTP_HEAD_H
#define HEADWATER_HTTP_HEAD_H

#include "kernel.h"

/* "HTTP/1.1 200": what must be there before an answer is told. */
#define HW_STATUS_LENGTH 12
#define HW_STATUS_OFFSET 9
/* "HTTP/1.1 100 Continue\r\n\r\n" */
#define HW_INTERIM_LENGTH 25

#define HW_WORD(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

static __always_inline __u32 hw_word(const __u8 *bytes)
{
	__u32 word;

	__builtin_memcpy(&word, bytes, 4);
	return word;
}

/* A target: a path, an absolute address, or `*`. Keeps an inline command of Redis ("GET key") from being taken for a request. */
static __always_inline bool hw_is_target(__u8 byte)
{
	return byte == '/' || byte == 'h' || byte == '*';
}

/* Whether `length` bytes begin a request. At least 9 bytes must be readable. */
static __always_inline bool hw_is_request(const __u8 *head, __u32 length)
{
	__u32 rest;

	if (length < 8)
		return false;
	rest = hw_word(head + 4);
	switch (hw_word(head)) {
	case HW_WORD('G', 'E', 'T', ' '):
	case HW_WORD('P', 'U', 'T', ' '):
		return hw_is_target(head[4]);
	case HW_WORD('P', 'O', 'S', 'T'):
	case HW_WORD('H', 'E', 'A', 'D'):
		return head[4] == ' ' && hw_is_target(head[5]);
	case HW_WORD('P', 'A', 'T', 'C'):
		return head[4] == 'H' && head[5] == ' ' && hw_is_target(head[6]);
	case HW_WORD('T', 'R', 'A', 'C'):
		return head[4] == 'E' && head[5] == ' ' && hw_is_target(head[6]);
	case HW_WORD('D', 'E', 'L', 'E'):
		return head[4] == 'T' && head[5] == 'E' && head[6] == ' ' && hw_is_target(head[7]);
	case HW_WORD('O', 'P', 'T', 'I'):
		return rest == HW_WORD('O', 'N', 'S', ' ') && length > 8 && hw_is_target(head[8]);
	}
	return false;
}

/* Whether a request of this method has no body: GET, HEAD, DELETE, OPTIONS, TRACE. */
static __always_inline bool hw_has_no_body(const __u8 *head)
{
	return head[0] != 'P';
}

static __always_inline bool hw_is_digit(__u8 byte)
{
	return byte >= '0' && byte <= '9';
}

/* "HTTP/1.1 200", of which all HW_STATUS_LENGTH bytes are there: a body that begins with the name of the protocol is no answer. */
static __always_inline bool hw_is_answer(const __u8 *head)
{
	if (hw_word(head) != HW_WORD('H', 'T', 'T', 'P') || hw_word(head + 4) << 8 != HW_WORD(0, '/', '1', '.'))
		return false;
	return head[8] == ' ' && hw_is_digit(head[9]) && hw_is_digit(head[10]) && hw_is_digit(head[11]);
}

static __always_inline bool hw_is_answer_start(const __u8 *head, __u32 length)
{
	return length >= HW_STATUS_LENGTH && hw_is_answer(head);
}

#endif
