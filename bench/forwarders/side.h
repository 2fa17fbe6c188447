// A side of the relay's network, as the bypasses and their generator are told of it.
#ifndef SIDE_H
#define SIDE_H

#include <stdint.h>

struct side {
    char interface[16];
    uint32_t relay, far;  // addresses, network order
    uint16_t far_port;    // network order; 0: the call's own
    uint8_t hardware[6];  // of the other end of the link
};

// INTERFACE,OTHER_END_HARDWARE,RELAY_ADDRESS,FAR_ADDRESS[,FAR_PORT]
struct side side_parse(const char *text);
// The interface's number and its own hardware address, in the namespace that the thread is in.
unsigned side_link(const struct side *side, uint8_t *own_hardware);

#endif
