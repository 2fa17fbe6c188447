// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Media in the driver. A packet of an established plain RTP flow gets its new addresses here and is sent on; what
// else comes to an open media port goes to the AF_XDP socket of its queue, where there is one; all the rest, and
// whatever is in doubt, goes to the kernel as it came.
//
// Order: packets of one flow leave in the order in which they came. The program counts what it passes up, the process
// says how many of those it has dealt with, and only where the two agree, so that nothing is in flight elsewhere, does
// the program take over.
//
// Layouts are those of xdp/abi/src/forward.rs. `make bpf` compiles this; the object is checked in. It loads without
// CAP_PERFMON: the verifier then wants packets read at offsets that are constants on each path, hence ADVANCE.

#include "forward.h"
#include "interfaces.h"
#include "packet.h"

INLINE void count(u32 figure)
{
	u64 *place = bpf_map_lookup_elem(&moor_counts, &figure);

	if (place)
		++*place;
}

SEC("xdp.frags") int moor_forward(struct xdp_md *ctx)
{
	void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip;
	u32 a, b, c, d, tags = 0, number, key, length, frame, word, limit, shard, reason;
	u32 relaying, sequence, came, timestamp, transit, jitter, ahead, back, window, packets, bytes, sum, check, begin, stamp;
	u32 skipped = 0, late = 0, duplicate = 0;
	struct ethernet *ethernet = at;
	struct interface *interface;
	struct range *range;
	struct lease *lease;
	struct flow *flow;
	struct told *told;
	struct seen *seen;
	struct port *port;
	struct hop *hop;
	struct udp *udp;
	struct rtp *rtp;
	u64 now, since, types;
	// Whole words, whose values the verifier keeps in mind where they lie on the stack.
	u64 v6, tagged = 0;
	u16 type, wish;

	reason = OTHER;
	if (at + sizeof(*ethernet) > end)
		goto pass;
	type = ethernet->type;
	ADVANCE(at, 14);
	if (type == BE16(VLAN) || type == BE16(OUTER_VLAN)) {
		struct tag *tag = at;

		if (at + sizeof(*tag) > end)
			goto pass;
		tags = BE16(tag->control) & 0xfff;
		tagged = 1;
		type = tag->type;
		ADVANCE(at, 4);
		if (type == BE16(VLAN)) {
			tag = at;
			if (at + sizeof(*tag) > end)
				goto pass;
			tags = tags << 16 | (BE16(tag->control) & 0xfff);
			tagged = 2;
			type = tag->type;
			ADVANCE(at, 4);
		}
	}
	ip = at;
	if (type == BE16(IP4)) {
		struct ipv4 *four = ip;

		if (at + sizeof(*four) + sizeof(*udp) > end)
			goto pass;
		// No options, and no fragment.
		if (four->version != 0x45 || four->protocol != IPPROTO_UDP || (four->fragment & BE16(0x3fff)))
			goto pass;
		ADVANCE(at, 20);
		udp = at;
		length = BE16(udp->length);
		if (BE16(four->length) != length + sizeof(*four))
			goto pass;
		a = b = 0;
		v6 = 0;
		c = __builtin_bswap32(0xffff);
		d = __builtin_bswap32(four->destination);
		// Keeps the compiler from making one load at a computed place of both branches'.
		asm volatile("" : "+r"(d));
	} else if (type == BE16(IP6)) {
		struct ipv6 *six = ip;

		if (at + sizeof(*six) + sizeof(*udp) > end)
			goto pass;
		if ((*(u8 *)at & 0xf0) != 0x60 || six->next != IPPROTO_UDP)
			goto pass;
		ADVANCE(at, 40);
		udp = at;
		length = BE16(udp->length);
		if (BE16(six->length) != length)
			goto pass;
		a = six->destination[0];
		b = six->destination[1];
		c = six->destination[2];
		d = __builtin_bswap32(six->destination[3]);
		v6 = 1;
	} else {
		goto pass;
	}
	number = BE16(udp->destination);

	reason = ELSEWHERE;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_RANGES; i++) {
		// Looked up one by one: without CAP_PERFMON no array may be walked by a pointer.
		key = i;
		range = bpf_map_lookup_elem(&moor_ranges, &key);
		if (!range || !range->addresses)
			goto pass;
		if (d - range->first < range->addresses && number - range->first_port < range->ports &&
		    c == range->prefix[2] && b == range->prefix[1] && a == range->prefix[0])
			goto found;
	}
	goto pass;
found:
	if (range->interface && (range->interface != ctx->ingress_ifindex || range->tags != tags))
		goto pass;
	key = range->base + (d - range->first) * range->stride + (number - range->first_port);
	limit = range->limit;
	port = bpf_map_lookup_elem(&moor_slots, &key);
	if (!port)
		goto pass;
	word = READ(port->word);
	reason = CLOSED;
	if (!word)
		goto pass;
	reason = OTHER;
	frame = bpf_xdp_get_buff_len(ctx);
	if (length < sizeof(*udp) || frame > MAX_FRAME || frame < 14 + 4 * tagged + (v6 ? 40 : 20) + length)
		goto pass;

	// A whole datagram in one buffer, to an open port.
	now = bpf_ktime_get_ns();
	shard = word >> 24;
	key = word & 0xffffff;
	reason = FLOWLESS;
	if (!key)
		goto steer;
	// Version 2 of RTP, and no RTCP (RFC 5761 section 4).
	reason = NOT_RTP;
	rtp = at + sizeof(*udp);
	if (length < sizeof(*udp) + sizeof(*rtp) || at + sizeof(*udp) + sizeof(*rtp) > end || rtp->first >> 6 != 2 ||
	    (rtp->second & 0xe0) == 192)
		goto steer;
	key--;
	reason = FLOWLESS;
	flow = bpf_map_lookup_elem(&moor_flows, &key);
	if (!flow)
		goto steer;
	told = &flow->told;
	seen = &flow->seen;
	begin = ((u32 *)rtp)[0];
	stamp = ((u32 *)rtp)[1];

	reason = UNWISHED;
	wish = READ(told->wish);
	if (wish == UP)
		goto up;
	// Whoever else sends to the port has no part in the flow, neither in its count nor in its order: else a flood of forged
	// packets would keep it out of the driver.
	reason = SOURCE;
	if (udp->source != told->source_port)
		goto steer;
	if (v6) {
		struct ipv6 *six = ip;

		if (told->version != 6 || six->source[3] != told->source[3] || six->source[2] != told->source[2] ||
		    six->source[1] != told->source[1] || six->source[0] != told->source[0])
			goto steer;
	} else {
		struct ipv4 *four = ip;

		if (told->version != 4 || four->source != told->source[0])
			goto steer;
	}
	reason = LEASE;
	key = 0;
	lease = bpf_map_lookup_elem(&moor_lease, &key);
	if (!lease || (s64)(now - READ(lease->beat)) > LEASE_NS)
		goto up;
	// By a queue of the port's own shard: as a flow that is to leave.
	reason = OWN_QUEUE;
	if (READ(lease->foreign) && own_socket(ctx, shard) &&
	    !(seen->relaying && seen->epoch == told->epoch && (s64)(now - seen->last_seen) < GRACE_NS &&
	      seen->window == (u32)(now >> WINDOW_SHIFT)))
		goto up;
	reason = SSRC;
	if (rtp->ssrc != told->ssrc)
		goto up;
	reason = PAYLOAD_TYPE;
	types = READ(told->payload_types[0]);
	if (begin & 64 << 8)
		types = READ(told->payload_types[1]);
	// Neither padding nor an extension nor contributing sources: their lengths would have to be checked.
	if ((begin & 0xff) != 0x80 || !(types >> (begin >> 8 & 63) & 1))
		goto up;
	// A UDP checksum changes by what is known beforehand (RFC 1624), unless it is not one yet: in a packet that was
	// sent on this host the sum of the pseudo-header may stand in its place.
	reason = MALFORMED;
	check = udp->check;
	sum = fold((u64)told->pseudo + udp->length);
	if (!v6) {
		u32 *words = ip;

		if (fold((u64)words[0] + words[1] + words[2] + words[3] + words[4]) != 0xffff)
			goto up;
	}
	if (check == sum) {
		s64 datagram = sum_of(ctx, 14 + 4 * tagged + (v6 ? 40 : 20), length);

		interface = interface_of(ctx->ingress_ifindex);
		if (datagram < 0 || !interface)
			goto up;
		sum += datagram;
		if (interface->generic && fold(sum) != 0xffff) {
			// The kernel completes it when it leaves.
			check = fold((u64)told->pseudo_after + __builtin_bswap16(length));
		} else {
			check = ~fold((u64)sum + (~check & 0xffff) + told->change) & 0xffff;
			check = check ? check : 0xffff;
		}
	} else if (check) {
		check = ~fold((u64)(~check & 0xffff) + told->change) & 0xffff;
		check = check ? check : 0xffff;
	} else if (v6) {
		// RFC 8200 section 8.1.
		goto up;
	}
	// From here on the packet is not looked at until it is written: what the verifier knows of it need not be the same
	// on all the ways here, which would be too many.
	reason = HOP;
	key = told->hop;
	hop = bpf_map_lookup_elem(&moor_hops, &key);
	if (!hop || !READ(hop->valid))
		goto up;
	reason = TOO_LONG;
	if (length + (v6 ? 40 : 20) > hop->mtu)
		goto up;
	reason = CEILING;
	window = now >> WINDOW_SHIFT;
	packets = bytes = 0;
	if (seen->window == window) {
		packets = seen->window_packets;
		bytes = seen->window_bytes;
	}
	packets++;
	bytes += length - sizeof(*udp);
	if (packets > told->max_packets || bytes > told->max_bytes)
		goto up;
	reason = UNUSUAL;
	since = seen->last_seen;
	if (seen->up_at > since)
		since = seen->up_at;
	since = now - since;
	// Seen by another CPU, whose packet began later.
	if ((s64)since < 0)
		since = 0;
	if (since >= PAUSE_NS)
		goto up;

	reason = UNWISHED;
	relaying = seen->relaying && seen->epoch == told->epoch;
	// No later than at the end of the window: a sender without a pause may not stay for ever.
	if (wish == LEAVE && !(relaying && now - seen->last_seen < GRACE_NS && seen->window == window))
		goto up;
	if (relaying) {
		sequence = seen->sequence;
		came = seen->came;
		timestamp = seen->timestamp;
		transit = seen->transit;
		jitter = seen->jitter;
		asm volatile("" : "+r"(sequence), "+r"(came), "+r"(timestamp), "+r"(transit), "+r"(jitter));
	} else {
		reason = UNARMED;
		// By a fence, after which all is read that the process wrote before it said that it has dealt with all.
		if (READ(told->armed) != __sync_fetch_and_add(&seen->passed, 0)) {
			// The process is so late that something is always in flight: nothing more is put there for a while.
			if (wish == DRAIN && (s64)(READ(lease->drain_until) - now) > 0) {
				count(DRAINED);
				return XDP_DROP;
			}
			goto up;
		}
		sequence = told->sequence;
		came = told->came;
		timestamp = told->timestamp;
		transit = told->transit;
		jitter = told->jitter;
	}

	// Order, as in moorline_rtp::Sequence.
	ahead = (BE16(begin >> 16) - sequence) & 0xffff;
	if (ahead == 0) {
		duplicate = 1;
	} else if (ahead < MAX_DROPOUT) {
		sequence += ahead;
		skipped = ahead - 1;
		came = ahead < 32 ? came << ahead | 1 : 1;
	} else {
		back = 65536 - ahead;
		reason = UNUSUAL;
		if (back >= MAX_MISORDER)
			goto up;
		if (back < 32 && came >> back & 1) {
			duplicate = 1;
		} else {
			late = 1;
			if (back < 32)
				came |= 1u << back;
		}
	}
	// Jitter, as in moorline_rtp::Jitter: of packets with another timestamp than the one before.
	if (__builtin_bswap32(stamp) != timestamp) {
		u64 second = READ(lease->second), factor = told->clock_factor;
		u32 clock = factor * NANOS >> 42, former = transit, step;

		timestamp = __builtin_bswap32(stamp);
		transit = (u32)second * clock + (u32)((now - second * NANOS) * factor >> 42) - timestamp;
		step = transit - former;
		if ((int)step < 0)
			step = -step;
		// More than a second is no jitter: timestamps began anew, or stood still.
		if (step <= clock)
			jitter += step - ((jitter + 8) >> 4);
	}

	if (!relaying) {
		if (seen->epoch != told->epoch) {
			seen->epoch = told->epoch;
			seen->longest_gap = 0;
			seen->longest_gap_ns = 0;
		}
		seen->takeovers++;
		WRITE(seen->relaying, 1);
	}
	seen->sequence = sequence;
	seen->came = came;
	seen->timestamp = timestamp;
	seen->transit = transit;
	seen->jitter = jitter;
	if (skipped) {
		seen->skipped += skipped;
		seen->gaps++;
		if (skipped > seen->longest_gap)
			seen->longest_gap = skipped;
		if (since > seen->longest_gap_ns)
			seen->longest_gap_ns = since;
	}
	seen->late += late;
	seen->duplicates += duplicate;
	seen->packets++;
	seen->bytes += length - sizeof(*udp);
	seen->last_seen = now;
	seen->window = window;
	seen->window_packets = packets;
	seen->window_bytes = bytes;
	seen->length = length - sizeof(*udp);

	tags = hop->vlan ? (hop->outer ? 2 : 1) : 0;
	// There is always room for two tags: every driver leaves 192 bytes at least.
	if (tags != tagged && bpf_xdp_adjust_head(ctx, 4 * (int)(tagged - tags)))
		return XDP_ABORTED;
	ethernet = at = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ADVANCE(at, 14);
	if (tags > 0)
		ADVANCE(at, 4);
	if (tags > 1)
		ADVANCE(at, 4);
	ip = at;
	if (v6)
		ADVANCE(at, 40);
	else
		ADVANCE(at, 20);
	udp = at;
	if (at + sizeof(*udp) > end)
		return XDP_ABORTED;
	ethernet->destination[0] = hop->destination[0];
	ethernet->destination[1] = hop->destination[1];
	ethernet->destination[2] = hop->destination[2];
	ethernet->source[0] = hop->source[0];
	ethernet->source[1] = hop->source[1];
	ethernet->source[2] = hop->source[2];
	type = v6 ? BE16(IP6) : BE16(IP4);
	if (tags == 0) {
		ethernet->type = type;
	} else {
		struct tag *tag = (void *)(ethernet + 1);

		if (tags == 1) {
			ethernet->type = BE16(VLAN);
		} else {
			ethernet->type = BE16(OUTER_VLAN);
			tag->control = BE16(hop->outer);
			tag->type = BE16(VLAN);
			tag++;
		}
		tag->control = BE16(hop->vlan);
		tag->type = type;
	}
	if (v6) {
		struct ipv6 *six = ip;

		// The flow label was the sender's.
		six->first = __builtin_bswap32(0x60000000 | (u32)told->tos << 20);
		six->hop_limit = told->ttl;
		six->source[0] = told->from[0];
		six->source[1] = told->from[1];
		six->source[2] = told->from[2];
		six->source[3] = told->from[3];
		six->destination[0] = told->to[0];
		six->destination[1] = told->to[1];
		six->destination[2] = told->to[2];
		six->destination[3] = told->to[3];
	} else {
		struct ipv4 *four = ip;

		four->tos = told->tos;
		four->ttl = told->ttl;
		four->check = ~fold((u64)told->header + four->length + four->id + four->fragment);
		four->source = told->from[0];
		four->destination = told->to[0];
		// Keeps the compiler from making one store at a computed place of both branches'.
		asm volatile("" : : : "memory");
	}
	*(u32 *)udp = told->ports;
	udp->check = check;

	count(RELAYED);
	if (!(seen->packets % RESIDENCE_EVERY)) {
		u64 took = bpf_ktime_get_ns() - now;
		u32 bucket = RESIDENCE_BUCKETS - 1;

		if (took < 1024)
			bucket = took >> 4;
		else if (took < 16384)
			bucket = 64 - 4 + (took >> 8);
		else if (took < 262144)
			bucket = 124 - 4 + (took >> 12);
		count(RESIDENCE + bucket);
	}
	if (hop->interface == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect_map(&moor_devices, hop->device, 0);

up:
	// To the AF_XDP socket of this queue, if it is the port's shard's. But what came by another queue before went by the
	// kernel, and is not overtaken: until it has been dealt with, or has had the time for it, this goes the same way.
	interface = own_socket(ctx, shard);
	since = now - seen->by_kernel_at;
	if (interface && (s64)since < IN_FLIGHT_NS &&
	    (wish == UP ? (s64)since < SETTLE_NS : READ(told->armed) != seen->passed))
		interface = 0;
	if (!interface)
		seen->by_kernel_at = now;
	seen->last_up[0] = begin;
	seen->last_up[1] = stamp;
	seen->up_at = now;
	WRITE(seen->relaying, 0);
	// Counted last, with a fence: who reads the count finds the rest.
	asm volatile("" : : "r"(__sync_fetch_and_add(&seen->passed, 1)));
	goto hand_over;
steer:
	interface = own_socket(ctx, shard);
hand_over:
	if (!interface)
		goto pass;
	count(PASSED + reason);
	// Under the ceiling that the lookup program has for what comes by the kernel.
	window = (now >> WINDOW_SHIFT) & 0xffff;
	if (port->window != window) {
		port->window = window;
		port->packets = 1;
	} else if (port->packets < limit) {
		port->packets++;
	} else {
		count(FLOODED);
		return XDP_DROP;
	}
	count(STEERED);
	return bpf_redirect_map(&moor_xsks, interface->slot * MAX_QUEUES + ctx->rx_queue_index, XDP_PASS);

pass:
	count(PASSED + reason);
	return XDP_PASS;
}

char SEC("license") terms[] = "Dual MIT/GPL";
