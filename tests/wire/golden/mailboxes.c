/* ATTACH, DETACH, EVENTS; NOTIFY of the callback program. */
#include "wire/golden/golden.h"

/* clang-format off: a line of hex is a field */
static const struct golden cases[] = {
    GOLDEN(fs_attach_args, "dial-back",
           ID_10_HEX         /* mailbox */
               CALLBACK_HEX, /* callback */
           .mailbox = ID(0x10), .callback = CALLBACK),
    GOLDEN(fs_attach_args, "no way back",
           ID_10_HEX            /* mailbox */
               NO_CALLBACK_HEX, /* callback */
           .mailbox = ID(0x10), .callback = NO_CALLBACK),
    GOLDEN(fs_attach_res, "FS_OK",
           "00000000"           /* status */
           "00000001"           /* route FS_ROUTE_PROVING */
           "00000000 00000003"  /* waiting 3 */
           "00000001 00000009", /* newest 2^32 + 9 */
           .status = FS_OK,
           .fs_attach_res_u.attachment = {.route = FS_ROUTE_PROVING, .waiting = 3, .newest = 0x100000009}),
    GOLDEN(fs_attach_res, "FS_HELD",
           "0000000d" /* status */
           FAILURE_HEX,
           .status = FS_HELD, .fs_attach_res_u.failure = FAILURE),

    GOLDEN(fs_detach_args, "the interests stay",
           ID_10_HEX   /* mailbox */
           "00000000", /* forget */
           .mailbox = ID(0x10), .forget = FALSE),
    GOLDEN(fs_detach_args, "forget all",
           ID_10_HEX   /* mailbox */
           "00000001", /* forget */
           .mailbox = ID(0x10), .forget = TRUE),

    GOLDEN(fs_events_args, "what follows number 6",
           ID_10_HEX           /* mailbox */
           "00000000 00000006" /* since */
           "00000040",         /* limit 64 */
           .mailbox = ID(0x10), .since = 6, .limit = 64),
    GOLDEN(fs_events_res, "FS_OK, each kind",
           "00000000"                /* status */
           "00000003"                /* rows */
           EVENT_ARRIVED_HEX         /* the first */
               EVENT_EXPIRED_HEX     /* the second */
                   EVENT_DROPPED_HEX /* the third */
           "00000001",               /* more */
           .status = FS_OK,
           .fs_events_res_u.page = {.rows = {3, (fs_event[]){EVENT_ARRIVED, EVENT_EXPIRED, EVENT_DROPPED}},
                                    .more = TRUE}),
    GOLDEN(fs_events_res, "FS_OK, nothing new",
           "00000000"  /* status */
           "00000000"  /* rows */
           "00000000", /* more */
           .status = FS_OK, .fs_events_res_u.page = {.rows = {0, NULL}, .more = FALSE}),
    GOLDEN(fs_events_res, "FS_CORRUPT",
           "0000000a" /* status */
           FAILURE_HEX,
           .status = FS_CORRUPT, .fs_events_res_u.failure = FAILURE),

    GOLDEN(fs_notify_args, "two events",
           ID_40_HEX              /* ticket */
           "00000002"             /* rows */
           EVENT_EXPIRED_HEX      /* the first */
               EVENT_ARRIVED_HEX, /* the second */
           .ticket = ID(0x40), .rows = {2, (fs_event[]){EVENT_EXPIRED, EVENT_ARRIVED}}),
    GOLDEN(fs_notify_args, "no events",
           ID_40_HEX   /* ticket */
           "00000000", /* rows */
           .ticket = ID(0x40), .rows = {0, NULL}),
    GOLDEN(fs_notify, "acknowledged", "00000001 00000009", /* up to 2^32 + 9 */
           .acknowledged = 0x100000009),
};
/* clang-format on */

const struct golden_family golden_mailboxes = GOLDEN_FAMILY(cases);
