#include "fault/power/trace.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PENDING_MAX = 64, ARGUMENTS = 8, NOBODY = -1 };

void trace_strace(const char *file, const char *words[TRACE_WORDS])
{
    const char *const all[] = {
        "strace",
        "-D",
        "-f",
        "-y",
        "-q",
        "-s",
        "4000000",
        "-o",
        file,
        "-e",
        "trace=openat,write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,link,linkat,"
        "unlink,unlinkat,rmdir,mkdir,mkdirat,recvfrom,sendto,sendmsg",
    };
    _Static_assert(sizeof all / sizeof all[0] < TRACE_WORDS, "there is room for NULL");
    for (size_t i = 0; i < TRACE_WORDS; i++)
        words[i] = i < sizeof all / sizeof all[0] ? all[i] : NULL;
}

/* ---- the recording, by hand ---- */

static void *more_room(void *array, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room)
        return array;
    *room = wanted * 2;
    void *grown = realloc(array, *room * size);
    if (!grown)
        abort();
    return grown;
}

static struct op *op_add(struct trace *trace, enum op_kind kind, int node)
{
    struct recording *r = &trace->recording;
    r->ops = more_room(r->ops, &r->op_room, r->op_count + 1, sizeof *r->ops);
    r->ops[r->op_count] = (struct op){.kind = kind, .node = (unsigned)node};
    return &r->ops[r->op_count++];
}

static struct trace_name *name_find(struct trace *trace, const char *path)
{
    for (size_t i = trace->name_count; i > 0; i--)
        if (strcmp(trace->names[i - 1].path, path) == 0)
            return &trace->names[i - 1];
    return NULL;
}

static int node_of(struct trace *trace, const char *path)
{
    const struct trace_name *name = name_find(trace, path);
    return name ? name->node : NOBODY;
}

/* The name, with a slot of its own; NULL if the folder above it is none of ours. */
static struct trace_name *name_make(struct trace *trace, const char *path)
{
    struct recording *r = &trace->recording;
    struct trace_name *name = name_find(trace, path);
    if (name)
        return name;
    const char *slash = strrchr(path, '/');
    char above[TRACE_NAME];
    snprintf(above, sizeof above, "%.*s", slash ? (int)(slash - path) : 0, path);
    int folder = node_of(trace, above);
    if (folder == NOBODY)
        return NULL;
    r->slots = more_room(r->slots, &r->slot_room, r->slot_count + 1, sizeof *r->slots);
    r->slots[r->slot_count].folder = (unsigned)folder;
    snprintf(r->slots[r->slot_count].name, sizeof r->slots->name, "%s", slash ? slash + 1 : path);
    trace->names = more_room(trace->names, &trace->name_room, trace->name_count + 1, sizeof *trace->names);
    name = &trace->names[trace->name_count++];
    *name = (struct trace_name){.slot = (unsigned)r->slot_count++, .node = NOBODY};
    snprintf(name->path, sizeof name->path, "%s", path);
    return name;
}

static void enter_new(struct trace *trace, const char *path, bool is_folder)
{
    struct recording *r = &trace->recording;
    struct trace_name *name = name_make(trace, path);
    if (!name || name->node != NOBODY)
        return;
    r->nodes = more_room(r->nodes, &r->node_room, r->node_count + 1, sizeof *r->nodes);
    r->nodes[r->node_count] = (struct node){.first = name->slot, .is_folder = is_folder};
    name->node = (int)r->node_count++;
    op_add(trace, OP_ENTER, name->node)->slot = name->slot;
}

static void write_at(struct trace *trace, int node, const uint8_t *bytes, size_t count, uint64_t offset)
{
    struct recording *r = &trace->recording;
    struct op *op = op_add(trace, OP_WRITE, node);
    op->offset = offset;
    op->count = count;
    op->at = r->byte_count;
    r->bytes = more_room(r->bytes, &r->byte_room, r->byte_count + count, 1);
    memcpy(r->bytes + r->byte_count, bytes, count);
    r->byte_count += count;
}

static uint64_t size_of(const struct trace *trace, int node)
{
    uint64_t size = 0;
    for (size_t i = 0; i < trace->recording.op_count; i++) {
        const struct op *op = &trace->recording.ops[i];
        if ((int)op->node == node && op->kind == OP_WRITE && op->offset + op->count > size)
            size = op->offset + op->count;
        if ((int)op->node == node && op->kind == OP_CUT)
            size = op->offset;
    }
    return size;
}

/* ---- a line of strace's ---- */

struct argument {
    char path[512]; /* of a descriptor, or a text */
    long long number;
    uint8_t *bytes; /* of a text, or all texts in braces; in the line's own memory */
    size_t count;
};

struct line {
    char name[24];
    struct argument arguments[ARGUMENTS];
    size_t count;
    long long result;
    char result_path[512];
};

/* Takes a quoted text from *at, decodes it in place and appends it to what is at `out`. */
static uint8_t *take_text(char **at, uint8_t *out)
{
    static const char letters[] = "n\nt\tr\rv\vf\f";
    char *from = *at + 1;
    while (*from && *from != '"') {
        if (*from != '\\') {
            *out++ = (uint8_t)*from++;
            continue;
        }
        from++;
        const char *letter = strchr(letters, *from);
        if (*from >= '0' && *from <= '7') {
            unsigned value = 0;
            for (unsigned i = 0; i < 3 && *from >= '0' && *from <= '7'; i++)
                value = value * 8 + (unsigned)(*from++ - '0');
            *out++ = (uint8_t)value;
        } else {
            *out++ = letter ? (uint8_t)letter[1] : (uint8_t)*from;
            from++;
        }
    }
    *at = *from ? from + 1 : from;
    return out;
}

/* "<...>" at *at: what the descriptor before it is. */
static void take_path(char **at, char path[512])
{
    if (**at != '<')
        return;
    char *end = strchr(*at, '>');
    if (!end)
        return;
    snprintf(path, 512, "%.*s", (int)(end - *at - 1), *at + 1);
    *at = end + 1;
}

/* Up to the comma or the end; texts inside of braces are one. */
static void take_argument(char **at, struct argument *out)
{
    *out = (struct argument){0};
    out->bytes = (uint8_t *)*at;
    uint8_t *end = out->bytes;
    int depth = 0;
    out->number = strtoll(*at, NULL, 10);
    for (bool first = true; **at && (depth > 0 || (**at != ',' && **at != ')')); first = false) {
        if (**at == '"') {
            end = take_text(at, end);
        } else if (**at == '<' && !first) {
            take_path(at, out->path);
        } else {
            depth += **at == '{' || **at == '[';
            depth -= **at == '}' || **at == ']';
            ++*at;
        }
    }
    out->count = (size_t)(end - out->bytes);
    if (out->count > 0 && out->count < sizeof out->path)
        snprintf(out->path, sizeof out->path, "%.*s", (int)out->count, (const char *)out->bytes);
}

/* False if it is no call that has ended well. */
static bool line_take(char *text, struct line *out)
{
    char *at = strchr(text, '('), *result = NULL;
    if (!at || at - text >= (ptrdiff_t)sizeof out->name)
        return false;
    for (char *next = strstr(text, " = "); next; next = strstr(next + 1, " = "))
        result = next;
    if (!result)
        return false;
    *out = (struct line){0};
    snprintf(out->name, sizeof out->name, "%.*s", (int)(at - text), text);
    char *number = result + 3;
    out->result = strtoll(number, &number, 10);
    take_path(&number, out->result_path);
    *result = '\0';
    while (*at && *at != ')' && out->count < ARGUMENTS) {
        at++;
        at += strspn(at, " ");
        take_argument(&at, &out->arguments[out->count++]);
    }
    return out->result >= 0;
}

/* ---- paths ---- */

/* Below the folder, into `out`; false if it is elsewhere, or means nothing. */
static bool below(const struct trace *trace, const char *path, char out[TRACE_NAME])
{
    size_t size = strlen(trace->folder);
    bool is_shared = strlen(path) > 4 && strcmp(path + strlen(path) - 4, "-shm") == 0;
    if (strncmp(path, trace->folder, size) != 0 || (path[size] != '/' && path[size] != '\0') || is_shared)
        return false;
    snprintf(out, TRACE_NAME, "%s", path[size] ? path + size + 1 : "");
    return true;
}

/* Of a folder's descriptor and a text, or of a text alone. */
static bool path_at(const struct trace *trace, const struct argument *folder, const struct argument *text,
                    char out[TRACE_NAME])
{
    char path[1100];
    if (!folder || text->path[0] == '/')
        snprintf(path, sizeof path, "%.500s", text->path);
    else
        snprintf(path, sizeof path, "%.500s/%.500s", folder->path, text->path);
    size_t size = strlen(path);
    if (size > 3 && strcmp(path + size - 3, "/..") == 0)
        return false;
    return below(trace, path, out);
}

/* ---- messages ---- */

static uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static struct trace_stream *stream_of(struct trace *trace, const char *socket, bool outgoing)
{
    for (size_t i = 0; i < trace->stream_count; i++)
        if (trace->streams[i].outgoing == outgoing && strcmp(trace->streams[i].socket, socket) == 0)
            return &trace->streams[i];
    if (trace->stream_count == TRACE_STREAMS)
        abort();
    struct trace_stream *stream = &trace->streams[trace->stream_count++];
    *stream = (struct trace_stream){.outgoing = outgoing};
    snprintf(stream->socket, sizeof stream->socket, "%.47s", socket);
    return stream;
}

static void message_add(struct trace *trace, size_t ops, uint32_t procedure, bool is_reply)
{
    trace->messages = more_room(trace->messages, &trace->message_room, trace->message_count + 1,
                                sizeof *trace->messages);
    trace->messages[trace->message_count++] = (struct trace_message){ops, procedure, is_reply};
}

static void request_add(struct trace *trace, const char *socket, uint32_t xid, uint32_t procedure)
{
    trace->requests = more_room(trace->requests, &trace->request_room, trace->request_count + 1,
                                sizeof *trace->requests);
    struct trace_request *request = &trace->requests[trace->request_count++];
    *request = (struct trace_request){.xid = xid, .procedure = procedure};
    snprintf(request->socket, sizeof request->socket, "%s", socket);
}

static void record_came(struct trace *trace, const struct trace_stream *stream, size_t ops)
{
    enum { XID = 4, TYPE = 8, PROCEDURE = 24, CALL = 0 };
    uint32_t xid = word_at(stream->bytes + XID), procedure = word_at(stream->bytes + PROCEDURE);
    bool is_call = word_at(stream->bytes + TYPE) == CALL;
    if (is_call && stream->outgoing)
        message_add(trace, ops, procedure, false);
    else if (is_call)
        request_add(trace, stream->socket, xid, procedure);
    else if (stream->outgoing)
        for (size_t i = trace->request_count; i > 0; i--)
            if (trace->requests[i - 1].xid == xid &&
                strcmp(trace->requests[i - 1].socket, stream->socket) == 0) {
                message_add(trace, ops, trace->requests[i - 1].procedure, true);
                return;
            }
}

static void bytes_came(struct trace *trace, const struct line *line, bool outgoing, size_t ops)
{
    enum { MARK = 4, HEADER = 28 };
    const struct argument *text = &line->arguments[1];
    size_t count = text->count < (size_t)line->result ? text->count : (size_t)line->result;
    if (strncmp(line->arguments[0].path, "socket:", 7) != 0)
        return;
    struct trace_stream *stream = stream_of(trace, line->arguments[0].path, outgoing);
    stream->bytes = more_room(stream->bytes, &stream->room, stream->count + count + HEADER, 1);
    memcpy(stream->bytes + stream->count, text->bytes, count);
    stream->count += count;
    while (stream->count >= HEADER && stream->bytes[0] & 0x80) {
        size_t size = (word_at(stream->bytes) & 0x7fffffff) + MARK;
        if (stream->count < size)
            return;
        record_came(trace, stream, ops);
        memmove(stream->bytes, stream->bytes + size, stream->count - size);
        stream->count -= size;
    }
}

/* ---- calls ---- */

static void sync_done(struct trace *trace, int node, size_t begun)
{
    const struct recording *r = &trace->recording;
    for (size_t i = begun; i < r->op_count; i++) {
        const struct op *op = &r->ops[i];
        bool same = (int)op->node == node ||
                    (op->kind >= OP_ENTER && op->kind <= OP_MOVE && (int)r->slots[op->slot].folder == node);
        if (same && op->kind != OP_SYNC)
            return;
    }
    op_add(trace, OP_SYNC, node);
}

static void file_call(struct trace *trace, const struct line *line, int node, size_t begun)
{
    const struct argument *a = line->arguments;
    size_t count = a[1].count < (size_t)line->result ? a[1].count : (size_t)line->result;
    if (strcmp(line->name, "pwrite64") == 0)
        write_at(trace, node, a[1].bytes, count, (uint64_t)a[3].number);
    else if (strcmp(line->name, "write") == 0)
        write_at(trace, node, a[1].bytes, count, size_of(trace, node));
    else if (strcmp(line->name, "ftruncate") == 0)
        op_add(trace, OP_CUT, node)->offset = (uint64_t)a[1].number;
    else
        sync_done(trace, node, begun);
}

static void two_names(struct trace *trace, const char *from, const char *to, bool move)
{
    int node = node_of(trace, from);
    struct trace_name *target = node == NOBODY ? NULL : name_make(trace, to);
    if (!target)
        return;
    target->node = node;
    struct trace_name *source = name_find(trace, from);
    struct op *op = op_add(trace, move ? OP_MOVE : OP_ENTER, node);
    op->slot = move ? source->slot : target->slot;
    op->to = target->slot;
    if (!move)
        return;
    source->node = NOBODY;
    /* What was below a folder that moves is below its new name. */
    size_t size = strlen(from);
    char path[TRACE_NAME];
    for (size_t i = 0; i < trace->name_count; i++) {
        struct trace_name *name = &trace->names[i];
        if (strncmp(name->path, from, size) != 0 || name->path[size] != '/')
            continue;
        if (strlen(to) + strlen(name->path + size) >= sizeof path)
            abort();
        strcpy(stpcpy(path, to), name->path + size);
        memcpy(name->path, path, sizeof path);
    }
}

static void name_call(struct trace *trace, const struct line *line)
{
    const struct argument *a = line->arguments;
    char one[TRACE_NAME], two[TRACE_NAME];
    size_t at = strstr(line->name, "at") != NULL; /* the calls with a folder's descriptor before each text */
    if (strncmp(line->name, "rename", 6) == 0 || strncmp(line->name, "link", 4) == 0) {
        if (path_at(trace, at ? &a[0] : NULL, &a[at], one) &&
            path_at(trace, at ? &a[at + 1] : NULL, &a[at + 1 + at], two))
            two_names(trace, one, two, line->name[0] == 'r');
        return;
    }
    if (!path_at(trace, at ? &a[0] : NULL, &a[at], one))
        return;
    if (strncmp(line->name, "mkdir", 5) == 0) {
        enter_new(trace, one, true);
        return;
    }
    struct trace_name *name = name_find(trace, one);
    if (!name || name->node == NOBODY)
        return;
    op_add(trace, OP_LEAVE, name->node)->slot = name->slot;
    name->node = NOBODY;
}

static void call_done(struct trace *trace, const struct line *line, size_t begun)
{
    char path[TRACE_NAME];
    if (strcmp(line->name, "recvfrom") == 0 || strncmp(line->name, "send", 4) == 0) {
        bytes_came(trace, line, line->name[0] == 's', begun);
    } else if (strcmp(line->name, "openat") == 0) {
        bool makes = line->count > 3; /* it has a mode */
        if (makes && below(trace, line->result_path, path))
            enter_new(trace, path, false);
    } else if (strcmp(line->name, "write") == 0 || strcmp(line->name, "pwrite64") == 0 ||
               strcmp(line->name, "ftruncate") == 0 || strstr(line->name, "sync")) {
        int node = below(trace, line->arguments[0].path, path) ? node_of(trace, path) : NOBODY;
        if (node != NOBODY)
            file_call(trace, line, node, begun);
    } else {
        name_call(trace, line);
    }
}

/* ---- the file ---- */

struct unfinished {
    long pid;
    size_t begun;
    char *text;
};

static void take_line(struct trace *trace, struct unfinished *all, char *text)
{
    static const char cut[] = " <unfinished ...>", resumed[] = " resumed>";
    struct line line;
    long pid = strtol(text, &text, 10);
    text += strspn(text, " ");
    struct unfinished *mine = all;
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (all[i].text && all[i].pid == pid)
            mine = &all[i];
    char *end = strstr(text, cut);
    if (end && strncmp(text, "<...", 4) != 0) {
        for (mine = all; mine->text; mine++)
            if (mine == &all[PENDING_MAX - 1])
                abort();
        *end = '\0';
        *mine = (struct unfinished){.pid = pid, .begun = trace->recording.op_count, .text = strdup(text)};
        return;
    }
    if (strncmp(text, "<...", 4) != 0) {
        if (line_take(text, &line))
            call_done(trace, &line, trace->recording.op_count);
        return;
    }
    char *rest = strstr(text, resumed), *whole = NULL;
    if (!rest || mine->pid != pid || !mine->text ||
        asprintf(&whole, "%s%s", mine->text, rest + strlen(resumed)) < 0)
        return;
    if (line_take(whole, &line))
        call_done(trace, &line, mine->begun);
    free(whole);
    free(mine->text);
    *mine = (struct unfinished){0};
}

void trace_read(struct trace *trace, const char *file)
{
    struct unfinished all[PENDING_MAX] = {0};
    char *text = NULL;
    size_t room = 0;
    FILE *from = fopen(file, "re");
    if (!from)
        abort();
    while (getline(&text, &room, from) > 0)
        take_line(trace, all, text);
    fclose(from);
    free(text);
    for (size_t i = 0; i < PENDING_MAX; i++)
        free(all[i].text);
}

void trace_note_write(struct trace *trace, const char *path, const void *bytes, size_t count, uint64_t offset)
{
    char name[TRACE_NAME];
    if (!below(trace, path, name) || node_of(trace, name) == NOBODY)
        abort();
    write_at(trace, node_of(trace, name), bytes, count, offset);
    op_add(trace, OP_SYNC_ALL, 0);
}

void trace_begin(struct trace *trace, const char *folder)
{
    *trace = (struct trace){.folder = folder};
    struct recording *r = &trace->recording;
    r->nodes = more_room(NULL, &r->node_room, 1, sizeof *r->nodes);
    r->nodes[r->node_count++] = (struct node){.is_folder = true};
    trace->names = more_room(NULL, &trace->name_room, 1, sizeof *trace->names);
    trace->names[trace->name_count++] = (struct trace_name){.path = ""};
}

void trace_fini(struct trace *trace)
{
    recording_fini(&trace->recording);
    for (size_t i = 0; i < trace->stream_count; i++)
        free(trace->streams[i].bytes);
    free(trace->names);
    free(trace->messages);
    free(trace->requests);
    *trace = (struct trace){0};
}
