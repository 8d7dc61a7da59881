/*
 * trace: what a program did, as strace wrote it down, as a recording and the
 * messages it sent.
 *
 *     trace_begin(&trace, folder);            all that lies below it is recorded
 *     trace_read(&trace, file);               once for each program, in the order of their lives
 *     trace_fini(&trace);
 *
 * strace was called as trace_strace says. A call counts from its end on, and a
 * message from its beginning; a sync counts only if nothing else was done to the
 * same file or folder while it ran.
 */
#pragma once

#include "fault/power/recording.h"

#include <stdbool.h>

enum { TRACE_NAME = 160, TRACE_STREAMS = 256 };

/* A record that was sent: a reply, or (NOTIFY) a call. */
struct trace_message {
    size_t ops;         /* done before */
    uint32_t procedure; /* of a reply: of the call that it answers */
    bool is_reply;
};

/* One way of a connection, as far as it is not yet cut into records. */
struct trace_stream {
    char socket[48];
    bool outgoing;
    uint8_t *bytes;
    size_t count, room;
};

struct trace_name {
    char path[TRACE_NAME]; /* below the folder */
    unsigned slot;
    int node; /* -1: nothing any more */
};

struct trace_request {
    char socket[48];
    uint32_t xid, procedure;
};

struct trace {
    struct recording recording;
    const char *folder;
    struct trace_name *names;
    struct trace_message *messages;
    struct trace_request *requests;
    struct trace_stream streams[TRACE_STREAMS];
    size_t name_count, name_room, message_count, message_room, request_count, request_room, stream_count;
};

/* The words before a program's own: strace with everything that this needs, written to `file`; ends with NULL. */
enum { TRACE_WORDS = 12 };
void trace_strace(const char *file, const char *words[TRACE_WORDS]);

void trace_begin(struct trace *trace, const char *folder);
void trace_read(struct trace *trace, const char *file);
/* What the test itself did to a file: durable at once, with all before. */
void trace_note_write(struct trace *trace, const char *path, const void *bytes, size_t count,
                      uint64_t offset);
void trace_fini(struct trace *trace);
