#define _GNU_SOURCE
#include "side.h"

#include <arpa/inet.h>
#include <err.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct side side_parse(const char *text) {
    struct side side = {0};
    char list[256], *rest = list, *parts[5] = {0};
    snprintf(list, sizeof list, "%s", text);
    for (unsigned part = 0; part < 5 && rest; part++) parts[part] = strsep(&rest, ",");
    uint8_t *at = side.hardware;
    if (!parts[3] || rest || sscanf(parts[1], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &at[0], &at[1], &at[2], &at[3], &at[4], &at[5]) != 6
        || inet_pton(AF_INET, parts[2], &side.relay) != 1 || inet_pton(AF_INET, parts[3], &side.far) != 1)
        errx(2, "%s: not INTERFACE,OTHER_END_HARDWARE,RELAY_ADDRESS,FAR_ADDRESS[,FAR_PORT]", text);
    snprintf(side.interface, sizeof side.interface, "%s", parts[0]);
    if (parts[4]) side.far_port = htons((uint16_t)atoi(parts[4]));
    return side;
}

unsigned side_link(const struct side *side, uint8_t *own_hardware) {
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(request.ifr_name, side->interface, sizeof side->interface);
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request)) err(1, "address of %s", side->interface);
    memcpy(own_hardware, request.ifr_hwaddr.sa_data, 6);
    close(fd);
    return if_nametoindex(side->interface);
}
