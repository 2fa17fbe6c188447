// The tables that the XDP programs share with the processes that load them, and what both do with a frame.
#ifndef BYPASS_H
#define BYPASS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define ALWAYS static inline __attribute__((always_inline))
#define SWAP16(VALUE) ((u16)__builtin_bswap16((u16)(VALUE)))
#define SWAP32(VALUE) ((u32)__builtin_bswap32((u32)(VALUE)))

// As calls.h has them, which a BPF program cannot read: a call's ports are even.
#define BYPASS_FIRST_PORT 20000
#define BYPASS_MAX_CALLS 20000
#define BYPASS_FRAME 214  // Ethernet, IPv4, UDP and 172 bytes

// One direction of a call. Addresses and ports are in network order.
struct bare_flow {
    u32 source, local;  // where its frames must come from, and where they go to
    u32 from, to;       // what they leave with
    u16 source_port, from_port, to_port;
    u16 is_open;
    u32 ethernet[3];  // destination and source
    u32 addresses, ports;  // what the checksums change by (RFC 1624), folded to 16 bits
    u64 packets, bytes;
} __attribute__((aligned(64)));

// A frame as the generator makes it: headers, RTP header and label.
#define BORN_HEAD 80
struct born_frame {
    u64 head[BORN_HEAD / 8];
    u32 sum;  // of all that the UDP checksum covers but what changes from packet to packet
    u32 pad;
};
// What the generator does next.
struct born_state {
    u64 next, gap;  // the time of the next packet and between packets, in 1/256 ns
    u64 tick;       // all packets due within so many ns leave together
    u64 behind;     // by how much the generator may be late, in 1/256 ns
    u64 sent, skipped;
    u32 calls, call, side, round;
};
// What is known of a frame that comes back, by the flow that it was born in.
struct born_back {
    u32 from, to;
    u16 from_port, to_port;
    u32 round;  // the next to come
};
// What came back to a side.
struct born_seen {
    u64 received, wrong, checked, missed, reordered, foreign;
    u64 pad[2];
};
// One call of so many is looked at in full.
#define BORN_SAMPLE 16

struct ether { u8 destination[6], source[6]; u16 type; };
struct ip4 { u8 version_ihl, tos; u16 length, id, fragment; u8 ttl, protocol; u16 check; u32 source, destination; };
struct udp4 { u16 source, destination, length, check; };

ALWAYS u16 fold(u32 sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)((sum & 0xffff) + (sum >> 16));
}

// The place of the flow of a frame that came in at `side`, or -1 for what is none of ours.
ALWAYS int bare_place(const void *data, const void *end, u32 side) {
    const struct ether *ether = data;
    const struct ip4 *ip = (const void *)(ether + 1);
    const struct udp4 *udp = (const void *)(ip + 1);
    if ((const void *)(udp + 1) > end) return -1;
    if (ether->type != SWAP16(0x0800) || ip->version_ihl != 0x45 || ip->protocol != 17 || (ip->fragment & SWAP16(0x3fff))) return -1;
    u32 offset = (u32)SWAP16(udp->destination) - BYPASS_FIRST_PORT;
    if (offset & 1 || offset / 2 >= BYPASS_MAX_CALLS) return -1;
    return (int)(side * BYPASS_MAX_CALLS + offset / 2);
}

// Checks the source and turns the frame into the one that leaves. Checksums are taken for whole ones, as frames
// from a network card have them.
ALWAYS int bare_rewrite(void *data, struct bare_flow *flow) {
    struct ip4 *ip = (void *)((u8 *)data + sizeof(struct ether));
    struct udp4 *udp = (void *)(ip + 1);
    if (!flow->is_open || ip->source != flow->source || udp->source != flow->source_port || ip->destination != flow->local) return 0;
    u32 *ethernet = data;
    ethernet[0] = flow->ethernet[0];
    ethernet[1] = flow->ethernet[1];
    ethernet[2] = flow->ethernet[2];
    ip->source = flow->from;
    ip->destination = flow->to;
    udp->source = flow->from_port;
    udp->destination = flow->to_port;
    ip->check = (u16)~fold((u16)~ip->check + flow->addresses);
    if (udp->check) {
        u16 check = (u16)~fold((u16)~udp->check + flow->addresses + flow->ports);
        udp->check = check ? check : 0xffff;
    }
    flow->packets++;
    flow->bytes += SWAP16(ip->length);
    return 1;
}

#endif
