// The processor time of those who work for the forwarder.
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stdint.h>

struct account {
    uint64_t process_ns;  // every thread of the process, by its schedstat
    uint64_t kernel_ns;   // the kernel threads named
    uint64_t slices;      // times that any of them was put on a core
    uint64_t idle_ns;     // of the relay core, by /proc/stat: what the others leave of it is the check on them
};

struct account account_read(const char *process, const char *threads, int core);

#endif
