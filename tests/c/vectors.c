#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

enum { MAX_VECTORS = 256, MAX_LINE_BYTES = 4096, MAX_UNESCAPED_BYTES = 65536 };

static unsigned char unescape_one(const char **at)
{
    unsigned int byte;

    if (**at != '\\')
        return (unsigned char)*(*at)++;
    if ((*at)[1] == '\\') {
        *at += 2;
        return '\\';
    }
    if (sscanf(*at, "\\x%2x", &byte) != 1)
        errx(2, "a bad escape: %s", *at);
    *at += 4;
    return (unsigned char)byte;
}

/* How often "*N" at the very end asks for the last byte; 0 if there is no such thing there. */
static size_t repetition(const char *at)
{
    char *end;
    unsigned long times;

    if (at[0] != '*' || at[1] < '0' || at[1] > '9')
        return 0;
    times = strtoul(at + 1, &end, 10);
    return *end == '\0' ? times : 0;
}

static struct vector_frame unescape(const char *text)
{
    static unsigned char room[MAX_UNESCAPED_BYTES];
    struct vector_frame frame = {NULL, 0};
    size_t length = 0;

    while (*text != '\0') {
        size_t times = length > 0 ? repetition(text) : 0;

        if (times > 0) {
            if (length + times > sizeof(room))
                errx(2, "a frame of more than %zu bytes", sizeof(room));
            memset(room + length, room[length - 1], times - 1);
            length += times - 1;
            break;
        }
        room[length++] = unescape_one(&text);
    }
    frame.data = malloc(length + 1);
    if (frame.data == NULL)
        err(2, "malloc");
    memcpy(frame.data, room, length);
    frame.data[length] = '\0';
    frame.length = length;
    return frame;
}

static const char *value_of(const char *line, const char *name)
{
    size_t length = strlen(name);

    return strncmp(line, name, length) == 0 ? line + length : NULL;
}

static void read_line(struct vector *vector, const char *line)
{
    const char *value;

    if ((value = value_of(line, "name: ")) != NULL) {
        snprintf(vector->name, sizeof(vector->name), "%s", value);
    } else if ((value = value_of(line, "from: ")) != NULL) {
        vector->from_daemon = strcmp(value, "daemon") == 0;
    } else if ((value = value_of(line, "expect: ")) != NULL) {
        vector->expect_ok = strcmp(value, "ok") == 0;
    } else if ((value = value_of(line, "frame: ")) != NULL) {
        if (vector->frame_count == VECTOR_MAX_FRAMES)
            errx(2, "%s: more than %d frames", vector->name, VECTOR_MAX_FRAMES);
        vector->frames[vector->frame_count++] = unescape(value);
    } else {
        errx(2, "%s: a line that is none: %s", vector->name, line);
    }
}

struct vector *vectors_read(const char *path, size_t *count)
{
    FILE *file = fopen(path, "re");
    struct vector *vectors = calloc(MAX_VECTORS, sizeof(*vectors));
    char line[MAX_LINE_BYTES];
    size_t used = 0;

    if (file == NULL || vectors == NULL)
        err(2, "%s", path);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' && vectors[used].name[0] != '\0')
            used++;
        if (used == MAX_VECTORS - 1)
            errx(2, "%s: more than %d vectors", path, MAX_VECTORS - 1);
        if (line[0] != '\0' && line[0] != '#')
            read_line(&vectors[used], line);
    }
    if (vectors[used].name[0] != '\0')
        used++;
    fclose(file);
    *count = used;
    return vectors;
}

void vectors_free(struct vector *vectors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < vectors[i].frame_count; j++)
            free(vectors[i].frames[j].data);
    }
    free(vectors);
}

unsigned char *vector_to_wire(const struct vector *vector, size_t *length)
{
    unsigned char *wire;
    size_t used = 0;
    size_t room = 1;

    for (size_t i = 0; i < vector->frame_count; i++)
        room += 9 + vector->frames[i].length;
    wire = malloc(room);
    if (wire == NULL)
        err(2, "malloc");
    for (size_t i = 0; i < vector->frame_count; i++) {
        const struct vector_frame *frame = &vector->frames[i];
        unsigned char more = i + 1 < vector->frame_count ? 1 : 0;

        if (frame->length > 255) {
            wire[used++] = more | 2;
            memset(wire + used, 0, 6);
            wire[used + 6] = (unsigned char)(frame->length >> 8);
            wire[used + 7] = (unsigned char)frame->length;
            used += 8;
        } else {
            wire[used++] = more;
            wire[used++] = (unsigned char)frame->length;
        }
        memcpy(wire + used, frame->data, frame->length);
        used += frame->length;
    }
    *length = used;
    return wire;
}
