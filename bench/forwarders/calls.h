// The calls that the generator makes up and the forwarders carry: numbers and addresses they agree on.
#ifndef CALLS_H
#define CALLS_H

#include <arpa/inet.h>
#include <stdint.h>

// A call has one even port on each of the relay's two sides, the same number on both.
#define FIRST_PORT 20000
#define MAX_CALLS 20000
// RTP header and 20 ms of G.711.
#define PAYLOAD 172

// Documentation networks (RFC 5737): side 0 and side 1.
static const char *const RELAY_ADDRESS[2] = {"192.0.2.1", "198.51.100.1"};
static const char *const FAR_ADDRESS[2] = {"192.0.2.10", "198.51.100.10"};

static inline uint16_t port_of(unsigned call) { return (uint16_t)(FIRST_PORT + 2 * call); }

// What the generator writes into a payload, behind 12 bytes that stand for the RTP header.
struct label {
    uint32_t magic;
    uint32_t call;
    uint32_t from_side;
    uint32_t sequence;
    uint64_t sent_ns;
};
#define LABEL_OFFSET 12
#define LABEL_MAGIC 0x6d6f6f72u

#endif
