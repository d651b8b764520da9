/* Reads tests/vectors/protocol.txt; its README.md explains the format. */
#ifndef OTPD_VECTORS_H
#define OTPD_VECTORS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    VECTOR_MAX_FRAMES = 40,
    VECTOR_MAX_NAME_BYTES = 64,
};

struct vector_frame {
    unsigned char *data; /* with a NUL after it */
    size_t length;
};

struct vector {
    char name[VECTOR_MAX_NAME_BYTES];
    bool from_daemon;
    bool expect_ok;
    size_t frame_count;
    struct vector_frame frames[VECTOR_MAX_FRAMES];
};

/* Ends the program with a message when the file is not what it should be. */
struct vector *vectors_read(const char *path, size_t *count);
void vectors_free(struct vector *vectors, size_t count);

/* The vector's frames as ZMTP puts them on the wire; to be freed. */
unsigned char *vector_to_wire(const struct vector *vector, size_t *length);

#endif
