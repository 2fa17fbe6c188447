#define _GNU_SOURCE
#include "account.h"

#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t schedstat(const char *process, const char *thread, uint64_t *slices) {
    char path[320];
    unsigned long long ran = 0, waited = 0, times = 0;
    snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", process, thread);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%llu %llu %llu", &ran, &waited, &times) != 3) ran = 0;
    fclose(file);
    *slices += times;
    return ran;
}

static uint64_t all_threads(const char *process, uint64_t *slices) {
    char path[64];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%s/task", process);
    DIR *tasks = opendir(path);
    if (!tasks) err(1, "%s", path);
    for (struct dirent *entry; (entry = readdir(tasks));)
        if (entry->d_name[0] != '.') sum += schedstat(process, entry->d_name, slices);
    closedir(tasks);
    return sum;
}

static uint64_t idle_of(int core) {
    char line[512], name[16];
    uint64_t idle = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) err(1, "/proc/stat");
    snprintf(name, sizeof name, "cpu%d ", core);
    while (fgets(line, sizeof line, file)) {
        unsigned long long user, nice, system, idling, waiting;
        if (!strncmp(line, name, strlen(name)) && sscanf(line + strlen(name), "%llu %llu %llu %llu %llu", &user, &nice, &system, &idling, &waiting) == 5)
            idle = (idling + waiting) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
    }
    fclose(file);
    return idle;
}

struct account account_read(const char *process, const char *threads, int core) {
    struct account account = {.idle_ns = idle_of(core)};
    char list[256], *rest = list;
    if (process) account.process_ns = all_threads(process, &account.slices);
    snprintf(list, sizeof list, "%s", threads);
    for (char *thread; (thread = strsep(&rest, ","));)
        if (*thread) account.kernel_ns += all_threads(thread, &account.slices);
    return account;
}
