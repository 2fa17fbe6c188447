#define _GNU_SOURCE
#include "xsk.h"

#include <err.h>
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_SNDBUFFORCE
#define SO_SNDBUFFORCE 32
#endif

uint64_t xsk_free[XSK_FRAMES];
uint32_t xsk_free_count;

uint8_t *xsk_memory(void) {
    static uint8_t *memory;
    if (memory) return memory;
    memory = mmap(NULL, (size_t)XSK_FRAMES * XSK_FRAME, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) err(1, "memory of frames");
    for (uint32_t frame = XSK_FRAMES; frame-- > 0;) xsk_free[xsk_free_count++] = (uint64_t)frame * XSK_FRAME;
    return memory;
}

static struct queue queue_map(int fd, int option, uint64_t page, const struct xdp_ring_offset *offset, size_t entry) {
    uint32_t count = XSK_RING;
    if (setsockopt(fd, SOL_XDP, option, &count, sizeof count)) err(1, "AF_XDP ring %d", option);
    uint8_t *at = mmap(NULL, offset->desc + count * entry, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)page);
    if (at == MAP_FAILED) err(1, "mmap of AF_XDP ring %d", option);
    return (struct queue){(uint32_t *)(at + offset->producer), (uint32_t *)(at + offset->consumer), (uint32_t *)(at + offset->flags), at + offset->desc, count - 1, 0};
}

void xsk_open(struct xsk *xsk, const struct xsk *first, unsigned interface) {
    struct xdp_mmap_offsets offsets;
    socklen_t length = sizeof offsets;
    int bytes = 4 << 20;
    xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (xsk->fd < 0) err(1, "AF_XDP socket");
    if (!first) {
        struct xdp_umem_reg memory = {.addr = (uint64_t)(uintptr_t)xsk_memory(), .len = (uint64_t)XSK_FRAMES * XSK_FRAME, .chunk_size = XSK_FRAME};
        if (setsockopt(xsk->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory)) err(1, "memory of AF_XDP");
    }
    if (setsockopt(xsk->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes)) err(1, "SO_SNDBUFFORCE");
    if (getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length)) err(1, "XDP_MMAP_OFFSETS");
    xsk->fill = queue_map(xsk->fd, XDP_UMEM_FILL_RING, XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, sizeof(uint64_t));
    xsk->complete = queue_map(xsk->fd, XDP_UMEM_COMPLETION_RING, XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, sizeof(uint64_t));
    xsk->receive = queue_map(xsk->fd, XDP_RX_RING, XDP_PGOFF_RX_RING, &offsets.rx, sizeof(struct xdp_desc));
    xsk->send = queue_map(xsk->fd, XDP_TX_RING, XDP_PGOFF_TX_RING, &offsets.tx, sizeof(struct xdp_desc));
    struct sockaddr_xdp name = {.sxdp_family = AF_XDP, .sxdp_ifindex = interface};
    // How frames are copied, and who wakes whom, is said with the first one only.
    if (first) name.sxdp_flags = XDP_SHARED_UMEM, name.sxdp_shared_umem_fd = (uint32_t)first->fd;
    else name.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
    if (bind(xsk->fd, (struct sockaddr *)&name, sizeof name)) err(1, "AF_XDP socket of interface %u", interface);
    xsk_replenish(xsk);
}

void xsk_replenish(struct xsk *xsk) {
    uint32_t count = queue_filled(&xsk->complete);
    for (uint32_t done = 0; done < count; done++)
        xsk_free[xsk_free_count++] = ((uint64_t *)xsk->complete.entries)[xsk->complete.at++ & xsk->complete.mask];
    if (count) queue_taken(&xsk->complete);
    count = queue_room(&xsk->fill);
    if (count > xsk_free_count) count = xsk_free_count;
    for (uint32_t done = 0; done < count; done++)
        ((uint64_t *)xsk->fill.entries)[xsk->fill.at++ & xsk->fill.mask] = xsk_free[--xsk_free_count];
    if (count) queue_given(&xsk->fill);
}

void xsk_kick(struct xsk *xsk) {
    // In copy mode a call sends 32 frames at most. What the link does not take now is tried again after the next batch.
    for (uint32_t tries = 0; tries <= XSK_RING / 32 && !queue_is_empty(&xsk->send); tries++)
        if (sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN) return;
}
