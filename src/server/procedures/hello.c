/*
 * NULL, HELLO, STATUS: what is answered whatever the store is doing.
 */
#include "server/procedures/wire.h"

#include "callback/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool_t fsproc_null_1_svc(void *args, void *result, struct svc_req *request)
{
    (void)args, (void)result, (void)request;
    return TRUE;
}

/* Beside its content an UPLOAD holds the call's header, a credential (400 bytes), ids, and a name (1 KiB). */
enum { UPLOAD_ROOM = 4096 };

/* So much content as fits into a record that the engine takes. */
static unsigned data_max(const struct service *service)
{
    size_t room = rpc_server_record_max(service->server) - UPLOAD_ROOM;

    return room < FS_DATA_MAX ? (unsigned)room : FS_DATA_MAX;
}

bool_t fsproc_hello_1_svc(fs_hello_args *args, fs_hello_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct id instance = service->store->acts->instance(service->store);
    fs_hello *hello = &result->fs_hello_res_u.hello;

    (void)args; /* who asks is for captures and debuggers: the server does not depend on it */
    memset(result, 0, sizeof *result);
    *hello = (fs_hello){
        .host = wire_text(call, service->host),
        .software = wire_text(call, "fileshared " FILESHARE_VERSION),
        .instance = wire_id_out(&instance),
        .now = event_time_to_wire(clock_wall(service->clock)),
        .principal = wire_text(call, rpc_call_principal(call)->text),
        .data_max = data_max(service),
        .list_max = FS_LIST_MAX,
        .interest_seconds_max = FS_INTEREST_SECONDS_MAX,
        .interests_max = service->limits.interests_per_mailbox,
        .upload_idle_seconds = service->limits.upload_idle_seconds,
    };
    return TRUE;
}

/* The report as it grows; rows past the limit of the .x would be a fault of ours, and are left out. */
struct report {
    struct rpc_call *call;
    fs_status_report *out;
};

static void count(struct report *report, const char *label, uint64_t amount)
{
    fs_status_report *out = report->out;
    fs_counter *row = &out->counters.counters_val[out->counters.counters_len];
    fs_text text;

    if (out->counters.counters_len == FS_COUNTERS_MAX)
        return;
    text = wire_text(report->call, label);
    row->label.label_len = text.fs_text_len;
    row->label.label_val = text.fs_text_val;
    row->amount = amount;
    out->counters.counters_len++;
}

static void count_engine(struct report *report, struct service *service)
{
    struct rpc_server_counters engine;

    rpc_server_count(service->server, &engine);
    count(report, "connections.open", engine.connections_open);
    count(report, "connections.accepted", engine.connections);
    count(report, "connections.refused", engine.connections_refused);
    count(report, "connections.cut", engine.connections_cut);
    count(report, "accept.pauses", engine.accept_pauses);
    count(report, "calls.all", engine.calls);
    count(report, "calls.refused", engine.calls_refused);
    count(report, "calls.late", engine.calls_late);
    count(report, "calls.waiting", engine.waiting_records);
    count(report, "bytes.in", engine.bytes_in);
    count(report, "bytes.out", engine.bytes_out);
    count(report, "bytes.in_flight", engine.in_flight_bytes);
    count(report, "bytes.unsent", engine.unsent_bytes);
}

static void count_procedures(struct report *report, struct service *service)
{
    const struct rpc_program *program = service_program();

    for (uint32_t number = 0; number < program->count; number++) {
        char label[FS_COUNTER_NAME_MAX + 1];

        snprintf(label, sizeof label, "calls.%s", program->procedures[number].label);
        count(report, label, rpc_server_calls(service->server, number));
    }
}

static void count_store(struct report *report, struct service *service)
{
    struct store_health health;

    service_health(service, &health);
    count(report, "store.files", health.files);
    count(report, "store.bytes", health.bytes);
    count(report, "store.uploads", health.uploads);
    count(report, "store.interests", health.interests);
    count(report, "store.mailboxes", health.mailboxes);
    count(report, "store.events", health.events);
    count(report, "store.events-dropped", health.events_dropped);
    count(report, "store.leftovers", health.leftovers);
    count(report, "store.free_bytes", health.free_bytes);
    count(report, "store.writable", health.writable);
}

static void count_delivery(struct report *report, struct service *service)
{
    struct delivery_counters delivery;

    delivery_count(service->delivery, &delivery);
    count(report, "delivery.batches", delivery.batches);
    count(report, "delivery.events", delivery.events);
    count(report, "delivery.retries", delivery.retries);
    count(report, "delivery.dialback", delivery.dialback);
    count(report, "delivery.reversed", delivery.reversed);
}

bool_t fsproc_status_1_svc(void *args, fs_status_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct report report = {.call = call, .out = &result->fs_status_res_u.report};
    struct failure why = {0};
    void *room = NULL;
    enum outcome outcome = wire_room(call, FS_COUNTERS_MAX, sizeof(fs_counter), &room, &why);

    (void)args;
    memset(result, 0, sizeof *result);
    if (outcome != OUTCOME_OK) {
        result->status = wire_failed(call, outcome, &why, &result->fs_status_res_u.failure.reason);
        return TRUE;
    }
    report.out->counters.counters_val = room;
    count(&report, "uptime.seconds", (uint64_t)((clock_elapsed(service->clock) - service->started) / CLOCK_SECOND));
    count_engine(&report, service);
    count_procedures(&report, service);
    count_store(&report, service);
    count_delivery(&report, service);
    return TRUE;
}
