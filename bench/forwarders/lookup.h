// One socket for all ports of a side: an sk_lookup program that gives it every datagram to an open port.
#ifndef LOOKUP_H
#define LOOKUP_H

// Attaches to the network namespace of the process until it ends.
// ports: a table says which are open; guard: a packet rate per port is kept, too.
void lookup_attach(int socket, int ports, int guard);

#endif
