// The Internet checksum (RFC 1071) over sums of 64 bits.
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t checksum_add(uint64_t sum, const void *bytes, size_t length) {
    const uint8_t *at = bytes;
    for (; length >= 4; at += 4, length -= 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        sum += word;
    }
    if (length) {
        uint32_t word = 0;
        memcpy(&word, at, length);
        sum += word;
    }
    return sum;
}

// In network order; addresses in network order.
static inline uint64_t checksum_pseudo(uint32_t source, uint32_t destination, uint16_t udp_length) {
    return (uint64_t)source + destination + htons(IPPROTO_UDP) + htons(udp_length);
}

static inline uint16_t checksum_fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

#endif
