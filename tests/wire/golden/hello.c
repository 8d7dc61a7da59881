/* HELLO and STATUS of the server, HELLO of the callback program. */
#include "wire/golden/golden.h"

/* clang-format off: a line of hex is a field */
static const struct golden cases[] = {
    GOLDEN(fs_hello_args, "a software's name", "00000007 6c732030 2e313900", /* software "ls 0.19" */
           .software = BYTES("ls 0.19")),
    GOLDEN(fs_hello_args, "nothing said", "00000000", /* software */
           .software = NO_BYTES),

    GOLDEN(fs_hello_res, "FS_OK",
           "00000000"                   /* status */
           "00000004 686f7374"          /* host "host" */
           "00000005 66732031 32000000" /* software "fs 12" */
           ID_10_HEX                    /* instance */
           "00000000 6553f100 0000000a" /* now */
           "00000006 756e6978 3a300000" /* principal "unix:0" */
           "00100000"                   /* data_max 1,048,576 */
           "00000400"                   /* list_max 1,024 */
           "01e28500"                   /* interest_seconds_max 31,622,400 */
           "00000100"                   /* interests_max 256 */
           "00015180",                  /* upload_idle_seconds 86,400 */
           .status = FS_OK,
           .fs_hello_res_u.hello = {.host = BYTES("host"),
                                    .software = BYTES("fs 12"),
                                    .instance = ID(0x10),
                                    .now = {1700000000, 10},
                                    .principal = BYTES("unix:0"),
                                    .data_max = 1048576,
                                    .list_max = 1024,
                                    .interest_seconds_max = 31622400,
                                    .interests_max = 256,
                                    .upload_idle_seconds = 86400}),
    GOLDEN(fs_hello_res, "FS_UNAVAILABLE",
           "0000000b" /* status */
           FAILURE_HEX,
           .status = FS_UNAVAILABLE, .fs_hello_res_u.failure = FAILURE),

    GOLDEN(
        fs_status_res, "FS_OK, two counters",
        "00000000"                   /* status */
        "00000002"                   /* counters */
        "00000005 63616c6c 73000000" /* label "calls" */
        "00000001 00000000"          /* amount 2^32 */
        "00000004 75707321"          /* label "ups!" */
        "00000000 00000000",         /* amount 0 */
        .status = FS_OK,
        .fs_status_res_u.report = {{2, (fs_counter[]){{BYTES("calls"), 0x100000000}, {BYTES("ups!"), 0}}}}),
    GOLDEN(fs_status_res, "FS_OK, no counters",
           "00000000"  /* status */
           "00000000", /* counters */
           .status = FS_OK, .fs_status_res_u.report = {{0, NULL}}),
    GOLDEN(fs_status_res, "FS_DENIED",
           "00000006" /* status */
           FAILURE_HEX,
           .status = FS_DENIED, .fs_status_res_u.failure = FAILURE),

    GOLDEN(fs_callback_hello_args, "the store that calls", ID_F0_HEX, /* instance */
           .instance = ID(0xf0)),
    GOLDEN(fs_callback_hello, "the proof", ID_90_HEX, /* proof */
           .proof = ID(0x90)),
};
/* clang-format on */

const struct golden_family golden_hello = GOLDEN_FAMILY(cases);
