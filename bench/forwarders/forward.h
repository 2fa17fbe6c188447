// What the forwarders have in common: what to try, the flows, and how a packet leaves.
#ifndef FORWARD_H
#define FORWARD_H

#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum sockets { PER_PORT, CONNECTED, SHARED };
// By the UDP socket of the port; by raw sockets with the IP header; by a packet socket, past routing and the firewall.
enum send { SEND_UDP, SEND_RAW, SEND_RAW_CONNECTED, SEND_PACKET };
enum via { VIA_SEND, VIA_SENDMSG, VIA_SENDMMSG };

// One alternative, as `key=value` arguments; forward.c documents each.
struct trial {
    int ring, recvmsg, stamp, overflow, files, skip, link, zerocopy, fixed_buffers, sqpoll, defer, coop, single, split, dontwait;
    int wait, timeout, minwait, nap, napi, buffers, stride, batch, checksum, raws, port_table, guard, calls, rcvbuf, pktinfo, bundle, queueing;
    enum sockets sockets;
    enum send send;
    enum via via;
};
extern struct trial trial;

// One direction of a call: what arrives at `side` of the relay on the call's port.
struct flow {
    uint32_t source;       // allowed, network order
    uint16_t source_port;  // allowed, network order
    uint16_t local_port;   // network order
    struct sockaddr_in to;
    const struct sockaddr_ll *next_hop;  // of a packet socket
    uint32_t from;  // the relay's address on the other side, network order
    int in, out;    // sockets, or their places in the registered table
    uint64_t packets, bytes;
} __attribute__((aligned(64)));
extern struct flow *flows;

extern uint64_t refused, failed;

// Of a shared socket: the flow by where the datagram was sent to. NULL if it is none of ours.
struct flow *flow_to(uint32_t address, uint16_t port);
// True if the datagram comes from where the flow's packets must come from. Counts.
bool flow_admits(struct flow *flow, uint32_t source, uint16_t source_port, unsigned length);

// Room for the headers of a raw send in front of the payload.
#define HEADERS 28
// Writes the IP and UDP headers right before the payload.
void write_headers(const struct flow *flow, uint8_t *payload, unsigned length);

// What leaves by sendmmsg(2) in the end of a batch, on one socket.
#define MAX_BATCH 1024
// The name that a send of the flow gives, NULL on a connected socket.
const void *name_of(const struct flow *flow, socklen_t *length);
void later_push(int socket, const struct flow *flow, uint8_t *at, unsigned length);
void later_send(void);

// Finds the address and port that the datagram was sent to in the control data of a shared socket.
bool original_destination(const uint8_t *control, unsigned length, uint32_t *address, uint16_t *port);

int shared_socket(void);
int raw_socket_of(unsigned number, int side);

void forward_by_ring(void);
void forward_by_calls(void);

#endif
