#include "rpc/call.h"

#include "rpc/transport.h"

#include <stdlib.h>

enum { CHUNK_SIZE = 8 * 1024, ALIGNMENT = 16 };

/* Chunks of zeroed memory, the newest first; what does not fit gets a chunk of its own. */
struct arena {
    struct arena *older;
    size_t used, size;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

struct at_end {
    struct at_end *earlier;
    void (*release)(void *thing);
    void *thing;
};

struct rpc_call *rpc_call_of(struct svc_req *request)
{
    return transport_call(request->rq_xprt);
}

const struct rpc_procedure *rpc_call_procedure(const struct rpc_call *call)
{
    return call->procedure;
}

const struct rpc_principal *rpc_call_principal(const struct rpc_call *call)
{
    return &call->principal;
}

static struct arena *chunk_new(struct rpc_call *call, size_t size)
{
    size_t room = size > CHUNK_SIZE / 4 ? size : CHUNK_SIZE;
    struct arena *chunk = calloc(1, sizeof *chunk + room);

    if (!chunk)
        return NULL;
    chunk->size = room;
    /* A chunk for one large thing goes behind the current one, which still has room. */
    if (room != CHUNK_SIZE && call->arena) {
        chunk->older = call->arena->older;
        call->arena->older = chunk;
    } else {
        chunk->older = call->arena;
        call->arena = chunk;
    }
    return chunk;
}

void *rpc_call_alloc(struct rpc_call *call, size_t size)
{
    struct arena *chunk = call->arena;

    if (size > SIZE_MAX / 2)
        return NULL;
    size_t wanted = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (wanted == 0)
        wanted = ALIGNMENT;
    if ((!chunk || chunk->size - chunk->used < wanted) && !(chunk = chunk_new(call, wanted)))
        return NULL;
    void *thing = chunk->bytes + chunk->used;
    chunk->used += wanted;
    return thing;
}

void rpc_call_reply_from(struct rpc_call *call, struct bulk_source *source)
{
    call->source = source;
}

bool rpc_call_at_end(struct rpc_call *call, void (*release)(void *thing), void *thing)
{
    struct at_end *entry = rpc_call_alloc(call, sizeof *entry);

    if (!entry)
        return false;
    *entry = (struct at_end){.earlier = call->at_end, .release = release, .thing = thing};
    call->at_end = entry;
    return true;
}

uint64_t rpc_call_connection(const struct rpc_call *call)
{
    return call->connection;
}

const struct address *rpc_call_peer(const struct rpc_call *call)
{
    return call->peer;
}

const struct address *rpc_call_local(const struct rpc_call *call)
{
    return call->local;
}

void call_release(struct rpc_call *call)
{
    for (struct at_end *entry = call->at_end; entry; entry = entry->earlier)
        entry->release(entry->thing);
    call->at_end = NULL;
    while (call->arena) {
        struct arena *older = call->arena->older;
        free(call->arena);
        call->arena = older;
    }
}

void *rpc_call_context(const struct rpc_call *call)
{
    return call->context;
}
