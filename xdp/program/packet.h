// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Packets as they lie in memory, and their checksums.

#pragma once

#include "forward.h"

// None of these has padding: fields lie as they do in a packet.
struct ethernet {
	u16 destination[3];
	u16 source[3];
	u16 type;
};
struct tag {
	u16 control;
	u16 type;
};
struct ipv4 {
	u8 version;
	u8 tos;
	u16 length;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 check;
	u32 source;
	u32 destination;
};
struct ipv6 {
	u32 first; // version, traffic class, flow label
	u16 length;
	u8 next;
	u8 hop_limit;
	u32 source[4];
	u32 destination[4];
};
struct udp {
	u16 source;
	u16 destination;
	u16 length;
	u16 check;
};
struct rtp {
	u8 first;
	u8 second;
	u16 sequence;
	u32 timestamp;
	u32 ssrc;
};

enum { IP4 = 0x0800, IP6 = 0x86dd, VLAN = 0x8100, OUTER_VLAN = 0x88a8, IPPROTO_UDP = 17 };

// A sum of 16-bit words, as one (RFC 1071).
INLINE u32 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// The sum of `length` bytes of the packet from `offset` on, or a negative number. By a copy: without CAP_PERFMON no part of
// a packet can be named whose size is not known beforehand.
INLINE s64 sum_of(struct xdp_md *ctx, u32 offset, u32 length)
{
	struct scratch *scratch;
	u32 key = 0, rest = length & 3, tail = 0;
	u64 sum = 0;

	length -= rest;
	scratch = bpf_map_lookup_elem(&moor_scratch, &key);
	if (!scratch)
		return -1;
#pragma clang loop unroll(full)
	for (u32 i = 0; i < MAX_FRAME / SCRATCH + 1; i++) {
		u32 part = length < SCRATCH ? length : SCRATCH;

		if (!part)
			break;
		if (bpf_xdp_load_bytes(ctx, offset, scratch->words, part))
			return -1;
		sum += (u32)bpf_csum_diff(0, 0, scratch->words, part, 0);
		offset += part;
		length -= part;
	}
	if (rest && bpf_xdp_load_bytes(ctx, offset, &tail, rest))
		return -1;
	return fold(sum + tail);
}
