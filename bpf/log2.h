/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* Log2 histograms without a loop: five comparisons, no instruction that old verifiers refuse. */
#ifndef HEADWATER_LOG2_H
#define HEADWATER_LOG2_H

#include "event.h"

/* Bucket of a value in ns: the position of its highest bit, 0 for 0 and 1, the last bucket for everything above. */
static __always_inline __u32 hw_log2_bucket(__u64 value)
{
	__u32 bucket = 0;

	if (value >> 32) {
		value >>= 32;
		bucket = 32;
	}
	if (value >> 16) {
		value >>= 16;
		bucket += 16;
	}
	if (value >> 8) {
		value >>= 8;
		bucket += 8;
	}
	if (value >> 4) {
		value >>= 4;
		bucket += 4;
	}
	if (value >> 2) {
		value >>= 2;
		bucket += 2;
	}
	if (value >> 1)
		bucket += 1;
	return bucket < HW_LOG2_BUCKETS ? bucket : HW_LOG2_BUCKETS - 1;
}

#endif
