/*
 * wire: from the structs of proto/fileshare.x to those of the store, and back.
 *
 * Wire structs end at the procedures; this is how they end. Whatever goes into
 * a result is copied into the call's arena, so that it lives until the reply is
 * encoded. The functions that read wire values answer INVALID with a reason for
 * the caller; those that copy answer NOMEM.
 */
#pragma once

#include "rpc/call.h"
#include "server/procedures/service.h"
#include "server/store/store.h"

#include "proto/fileshare.h"

/* The service and the caller behind a request. */
struct service *wire_service(struct rpc_call *call);
struct store_caller wire_caller(const struct rpc_call *call);

/* The one place where an outcome becomes a status. */
fs_status wire_status(enum outcome outcome);

/*
 * A failed answer: the status, and the reason in the arena. With failures that
 * are the server's own (FAULT, LOCAL, NOMEM, ...) it logs them, once in a while.
 */
fs_status wire_failed(struct rpc_call *call, enum outcome outcome, const struct failure *why, fs_text *reason);

/* Text into the arena; empty when there is no memory. */
fs_text wire_text(struct rpc_call *call, const char *text);

/* A name; a glob (`*out` may be empty: all); an id that must not be none. `what` names it in the reason. */
must_check enum outcome wire_name(const fs_name *wire, char out[NAME_BUFFER], struct failure *why);
must_check enum outcome wire_glob(const fs_name *wire, char out[NAME_BUFFER], struct failure *why);
must_check enum outcome wire_cursor(const fs_name *wire, char out[NAME_BUFFER], struct failure *why);
must_check enum outcome wire_id(const fs_id *wire, const char *what, struct id *out, struct failure *why);
struct id wire_optional_id(const fs_id *wire);
must_check enum outcome wire_time(const fs_time *wire, int64_t *out, struct failure *why);
must_check enum outcome wire_digest(const fs_digest *wire, bool *given, struct digest_value *out,
                                    struct failure *why);
must_check enum outcome wire_condition(fs_policy policy, const fs_id *expected, struct store_condition *out,
                                       struct failure *why);

/* A file as UPLOAD has it. `name` is where its name goes; the content stays in the record. */
must_check enum outcome wire_put(const fs_upload_args *wire, char name[NAME_BUFFER], struct store_put *out,
                                 struct failure *why);

fs_id wire_id_out(const struct id *id);

must_check enum outcome wire_entry_out(struct rpc_call *call, const struct store_entry *entry, fs_entry *out,
                                       struct failure *why);
/* What was put, as its entry: points to the answer, the put and the call. */
fs_entry wire_put_out(const struct rpc_call *call, const struct store_put *put,
                      const struct store_put_answer *answer);
must_check enum outcome wire_event_out(struct rpc_call *call, const struct store_event *event, fs_event *out,
                                       struct failure *why);
must_check enum outcome wire_route_out(enum sender_state state, fs_route *out, struct failure *why);

/* Zeroed room for `count` things of `size` bytes in the arena. */
must_check enum outcome wire_room(struct rpc_call *call, size_t count, size_t size, void **out,
                                  struct failure *why);

/* Bytes of an entry in a reply, at most. */
size_t wire_entry_size(const struct store_entry *entry);

/*
 * What became of an act that was done when its answer was made: without memory
 * for it nobody is told, and UNKNOWN asks for the same call again.
 */
must_check enum outcome wire_unanswered(enum outcome outcome);

/* The last step of a procedure that answers an entry, or nothing but a status: sets the whole result. */
bool_t wire_answer_entry(struct rpc_call *call, enum outcome outcome, const struct store_entry *entry,
                         struct failure *why, fs_entry_res *result);
bool_t wire_answer_done(struct rpc_call *call, enum outcome outcome, const struct failure *why,
                        fs_done_res *result);

/* After an arrival: its events. The arrival is durable already; what fails here upkeep makes good. */
void wire_spread_news(struct service *service);
