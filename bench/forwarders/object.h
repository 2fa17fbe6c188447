// The little of libbpf that the bypasses need: loads a BPF object that has maps of its own and no type information.
#ifndef OBJECT_H
#define OBJECT_H

#include <stddef.h>
#include <stdint.h>

// Reads the file beside the executable and makes its maps.
void object_open(const char *name);
// The descriptor of a map.
int object_map(const char *name);
// The values of a map, as memory.
void *object_memory(const char *name, size_t bytes);
// Sets an entry of a map that is no memory.
void object_set(const char *map, uint32_t key, uint32_t value);
// Loads the program of a section and returns its descriptor.
int object_program(const char *section);
// Attaches a program to an interface of the current namespace, in the driver, until the process ends.
void object_attach(int program, unsigned interface);
// Runs a program on live frames, 64 at a time, until a signal comes.
void object_run(int program, const void *frame, uint32_t length);

#endif
