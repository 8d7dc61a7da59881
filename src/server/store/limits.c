#include "server/store/store.h"

struct store_limits store_limits_default(void)
{
    return (struct store_limits){
        .uploads = 4096,
        .uploads_per_principal = 256,
        .upload_idle_seconds = 24 * 3600,
        .interests = 1000000,
        .interests_per_principal = 100000,
        .interests_per_mailbox = 10000,
        .open_globs = 10000,
        .open_globs_per_principal = 1000,
        .open_globs_per_mailbox = 64,
        .mailboxes = 100000,
        .mailboxes_per_principal = 10000,
        .events_per_mailbox = 10000,
        .event_seconds = 30 * 24 * 3600,
        .answers_per_principal = 10000,
        .kept_seconds = 600,
        .kept_bytes = UINT64_C(64) << 30,
        .reserve_bytes = UINT64_C(64) << 20,
        .open_reads = 256,
    };
}
