// AF_XDP sockets in copy mode that share one memory, by plain system calls.
#ifndef XSK_H
#define XSK_H

#include <linux/if_xdp.h>
#include <stdint.h>

// One ring of a socket: the kernel's on one end, ours on the other.
struct queue {
    uint32_t *producer, *consumer, *flags;
    void *entries;
    uint32_t mask;
    uint32_t at;  // our end
};

struct xsk {
    int fd;
    struct queue fill, complete, receive, send;
};

#define XSK_FRAME 2048u
#define XSK_FRAMES 4096u
#define XSK_RING 1024u
#define XSK_BATCH 64u

// The memory of the frames; `first` is the socket that it is registered with, or NULL for the first.
uint8_t *xsk_memory(void);
void xsk_open(struct xsk *xsk, const struct xsk *first, unsigned interface);

// The frames that are nobody's, by their places in the memory; the last one freed is the first one taken.
extern uint64_t xsk_free[XSK_FRAMES];
extern uint32_t xsk_free_count;

// How many frames have come in.
static inline uint32_t queue_filled(const struct queue *queue) { return __atomic_load_n(queue->producer, __ATOMIC_ACQUIRE) - queue->at; }
// How many frames may be given.
static inline uint32_t queue_room(const struct queue *queue) { return queue->mask + 1 - (queue->at - __atomic_load_n(queue->consumer, __ATOMIC_ACQUIRE)); }
static inline void queue_taken(struct queue *queue) { __atomic_store_n(queue->consumer, queue->at, __ATOMIC_RELEASE); }
static inline void queue_given(struct queue *queue) { __atomic_store_n(queue->producer, queue->at, __ATOMIC_RELEASE); }
// Whether the kernel has taken all that was given.
static inline int queue_is_empty(const struct queue *queue) { return __atomic_load_n(queue->consumer, __ATOMIC_ACQUIRE) == queue->at; }

// Takes back what was sent, and gives the kernel frames to receive into.
void xsk_replenish(struct xsk *xsk);
// Has the kernel send what it was given.
void xsk_kick(struct xsk *xsk);

#endif
