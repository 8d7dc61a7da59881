/* REGISTER_INTEREST, CANCEL_INTEREST, RENEW_INTEREST, LIST_INTERESTS. */
#include "wire/golden/golden.h"

/* clang-format off: a line of hex is a field */
static const struct golden cases[] = {
    GOLDEN(fs_register_args, "a glob, every one, with a callback",
           ID_10_HEX                /* mailbox */
               ID_20_HEX            /* interest */
           "00000001"               /* match FS_GLOB */
           "00000003 612f2a00"      /* pattern, "a/" and a star */
           "00000e10"               /* seconds 3,600 */
           "00000001"               /* repeat FS_EVERY */
           "00000001"               /* present FS_IGNORE */
           "00000001" CALLBACK_HEX, /* callback, there */
           .mailbox = ID(0x10), .interest = ID(0x20), .match = FS_GLOB, .pattern = BYTES("a/*"),
           .seconds = 3600, .repeat = FS_EVERY, .present = FS_IGNORE, .callback = &(fs_callback)CALLBACK),
    GOLDEN(fs_register_args, "a name, once, no callback",
           ID_10_HEX                    /* mailbox */
               ID_20_HEX                /* interest */
           "00000000"                   /* match FS_EXACT */
           "00000005 612e7478 74000000" /* pattern "a.txt" */
           "01e28500"                   /* seconds 31,622,400 */
           "00000000"                   /* repeat FS_ONCE */
           "00000000"                   /* present FS_TELL */
           "00000000",                  /* no callback */
           .mailbox = ID(0x10), .interest = ID(0x20), .match = FS_EXACT, .pattern = BYTES("a.txt"),
           .seconds = 31622400, .repeat = FS_ONCE, .present = FS_TELL, .callback = NULL),

    GOLDEN(fs_register_res, "FS_OK, registered",
           "00000000"  /* status */
           "00000001"  /* registered */
           "00000e10"  /* seconds_left 3,600 */
           "00000003"  /* route FS_ROUTE_REVERSED */
           "00000000"  /* present: none */
           "00000000", /* more */
           .status = FS_OK,
           .fs_register_res_u.registration = {.registered = TRUE,
                                              .seconds_left = 3600,
                                              .route = FS_ROUTE_REVERSED,
                                              .present = {0, NULL},
                                              .more = FALSE}),
    GOLDEN(fs_register_res, "FS_OK, it is there already",
           "00000000"             /* status */
           "00000000"             /* registered: no */
           "00000000"             /* seconds_left */
           "00000000"             /* route FS_ROUTE_NONE */
           "00000001" ENTRY_B_HEX /* present: one */
           "00000001",            /* more */
           .status = FS_OK,
           .fs_register_res_u.registration = {.registered = FALSE,
                                              .seconds_left = 0,
                                              .route = FS_ROUTE_NONE,
                                              .present = {1, (fs_entry[]){ENTRY_B}},
                                              .more = TRUE}),
    GOLDEN(fs_register_res, "FS_LIMIT",
           "00000009" /* status */
           FAILURE_HEX,
           .status = FS_LIMIT, .fs_register_res_u.failure = FAILURE),

    GOLDEN(fs_cancel_args, "by id",
           ID_10_HEX         /* op */
               ID_20_HEX     /* mailbox */
                   ID_30_HEX /* interest */
           "00000000",       /* pattern */
           .op = ID(0x10), .mailbox = ID(0x20), .interest = ID(0x30), .pattern = NO_BYTES),
    GOLDEN(fs_cancel_args, "by pattern",
           ID_10_HEX            /* op */
               ID_20_HEX        /* mailbox */
                   NO_ID_HEX    /* interest */
           "00000003 612f2a00", /* pattern */
           .op = ID(0x10), .mailbox = ID(0x20), .interest = NO_ID, .pattern = BYTES("a/*")),

    GOLDEN(
        fs_cancel_res, "FS_OK, each state",
        "00000000"                        /* status */
        "00000005"                        /* rows */
        ID_10_HEX "00000001 00000000"     /* FS_CANCELLED, no event */
        ID_20_HEX "00000002 00000001"     /* FS_MET, with the event */
        EVENT_ARRIVED_HEX                 /* the event */
            ID_30_HEX "00000003 00000000" /* FS_OVER */
        ID_40_HEX "00000004 00000000"     /* FS_NEVER */
        ID_F0_HEX "00000000 00000000"     /* FS_WAITING */
        "00000001",                       /* more */
        .status = FS_OK,
        .fs_cancel_res_u.cancel = {.rows = {5, (fs_cancelled[]){{ID(0x10), FS_CANCELLED, NULL},
                                                                {ID(0x20), FS_MET, &(fs_event)EVENT_ARRIVED},
                                                                {ID(0x30), FS_OVER, NULL},
                                                                {ID(0x40), FS_NEVER, NULL},
                                                                {ID(0xf0), FS_WAITING, NULL}}},
                                   .more = TRUE}),
    GOLDEN(fs_cancel_res, "FS_OK, nothing of that pattern",
           "00000000"  /* status */
           "00000000"  /* rows */
           "00000000", /* more */
           .status = FS_OK, .fs_cancel_res_u.cancel = {.rows = {0, NULL}, .more = FALSE}),
    GOLDEN(fs_cancel_res, "FS_UNKNOWN",
           "0000000c" /* status */
           FAILURE_HEX,
           .status = FS_UNKNOWN, .fs_cancel_res_u.failure = FAILURE),

    GOLDEN(fs_renew_args, "an hour more",
           ID_10_HEX         /* op */
               ID_20_HEX     /* mailbox */
                   ID_30_HEX /* interest */
           "00000e10",       /* seconds 3,600 */
           .op = ID(0x10), .mailbox = ID(0x20), .interest = ID(0x30), .seconds = 3600),
    GOLDEN(fs_renew_res, "FS_OK",
           "00000000"  /* status */
           "00000e0f", /* seconds_left 3,599 */
           .status = FS_OK, .fs_renew_res_u.renewal = {3599}),
    GOLDEN(fs_renew_res, "FS_ABSENT",
           "00000002" /* status */
           FAILURE_HEX,
           .status = FS_ABSENT, .fs_renew_res_u.failure = FAILURE),

    GOLDEN(fs_interests_args, "the next page",
           ID_10_HEX      /* mailbox */
               ID_20_HEX, /* cursor */
           .mailbox = ID(0x10), .cursor = ID(0x20)),
    GOLDEN(fs_interests_res, "FS_OK, one of each kind",
           "00000000"          /* status */
           "00000002"          /* rows */
           ID_10_HEX           /* interest */
           "00000001"          /* match FS_GLOB */
           "00000003 612f2a00" /* pattern, "a/" and a star */
           "00000001"          /* repeat FS_EVERY */
           "00000000"          /* state FS_WAITING */
           "0000003c"          /* seconds_left 60 */
           "00000001 00000002" /* arrivals 2^32 + 2 */
           ID_20_HEX           /* interest */
           "00000000"          /* match FS_EXACT */
           "00000001 61000000" /* pattern "a" */
           "00000000"          /* repeat FS_ONCE */
           "00000003"          /* state FS_OVER */
           "00000000"          /* seconds_left */
           "00000000 00000000" /* arrivals */
           "00000001"          /* more */
           "00000002",         /* route FS_ROUTE_DIALBACK */
           .status = FS_OK,
           .fs_interests_res_u.page = {.rows = {2, (fs_interest[]){{ID(0x10), FS_GLOB, BYTES("a/*"), FS_EVERY,
                                                                    FS_WAITING, 60, 0x100000002},
                                                                   {ID(0x20), FS_EXACT, BYTES("a"), FS_ONCE,
                                                                    FS_OVER, 0, 0}}},
                                       .more = TRUE,
                                       .route = FS_ROUTE_DIALBACK}),
    GOLDEN(fs_interests_res, "FS_FAULT",
           "0000000e" /* status */
           FAILURE_HEX,
           .status = FS_FAULT, .fs_interests_res_u.failure = FAILURE),
};
/* clang-format on */

const struct golden_family golden_interests = GOLDEN_FAMILY(cases);
