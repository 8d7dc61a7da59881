/* UPLOAD, UPLOAD_MANY; UPLOAD_OPEN, UPLOAD_DATA, UPLOAD_COMMIT, UPLOAD_ABORT. */
#include "wire/golden/golden.h"

/* clang-format off: a line of hex is a field */
static const struct golden cases[] = {
    GOLDEN(fs_upload_args, "replace, all fields",
           ID_10_HEX                     /* op */
           "00000003 612f6200"           /* name "a/b" */
           "00000001"                    /* policy FS_REPLACE */
           ID_20_HEX                     /* expected */
           "00000000 6553f100 00000001"  /* mtime */
           "00000010" ID_90_HEX          /* digest */
           "00000005 00ff0a0d 7f000000", /* content, five bytes */
           .op = ID(0x10), .name = BYTES("a/b"), .policy = FS_REPLACE, .expected = ID(0x20),
           .mtime = {1700000000, 1}, .digest = DIGEST(0x90), .content = BYTES("\x00\xff\x0a\x0d\x7f")),
    GOLDEN(fs_upload_args, "an empty file, no digest",
           ID_10_HEX                    /* op */
           "00000001 78000000"          /* name "x" */
           "00000000"                   /* policy FS_FAIL */
           NO_ID_HEX                    /* expected: none */
           "00000000 00000000 00000000" /* mtime */
           "00000000"                   /* digest, empty */
           "00000000",                  /* content, empty */
           .op = ID(0x10), .name = BYTES("x"), .policy = FS_FAIL, .expected = NO_ID, .mtime = {0, 0},
           .digest = NO_BYTES, .content = NO_BYTES),

    GOLDEN(fs_entry_res, "FS_OK",
           "00000000" /* status */
           ENTRY_A_HEX,
           .status = FS_OK, .fs_entry_res_u.entry = ENTRY_A),
    GOLDEN(fs_entry_res, "FS_OK, borders of an entry",
           "00000000" /* status */
           ENTRY_B_HEX,
           .status = FS_OK, .fs_entry_res_u.entry = ENTRY_B),
    GOLDEN(fs_entry_res, "FS_EXISTS",
           "00000001" /* status */
           FAILURE_HEX,
           .status = FS_EXISTS, .fs_entry_res_u.failure = FAILURE),

    GOLDEN(fs_upload_many_args, "two files",
           "00000002"                   /* files */
           ID_10_HEX                    /* the first: op */
           "00000003 612f6200"          /* name "a/b" */
           "00000001"                   /* policy FS_REPLACE */
           ID_20_HEX                    /* expected */
           "00000000 6553f100 00000001" /* mtime */
           "00000010" ID_90_HEX         /* digest */
           "00000005 00ff0a0d 7f000000" /* content, five bytes */
           ID_30_HEX                    /* the second: op */
           "00000001 78000000"          /* name "x" */
           "00000000"                   /* policy FS_FAIL */
           NO_ID_HEX                    /* expected: none */
           "00000000 00000000 00000000" /* mtime */
           "00000000"                   /* digest, empty */
           "00000000",                  /* content, empty */
           .files = {2, (fs_upload_args[]){{.op = ID(0x10),
                                            .name = BYTES("a/b"),
                                            .policy = FS_REPLACE,
                                            .expected = ID(0x20),
                                            .mtime = {1700000000, 1},
                                            .digest = DIGEST(0x90),
                                            .content = BYTES("\x00\xff\x0a\x0d\x7f")},
                                           {.op = ID(0x30),
                                            .name = BYTES("x"),
                                            .policy = FS_FAIL,
                                            .expected = NO_ID,
                                            .mtime = {0, 0},
                                            .digest = NO_BYTES,
                                            .content = NO_BYTES}}}),
    GOLDEN(fs_upload_many_args, "none", "00000000", /* files */
           .files = {0, NULL}),

    GOLDEN(fs_upload_many_res, "FS_OK, one stored and one refused",
           "00000000"              /* status */
           "00000002"              /* files */
           "00000000" ENTRY_A_HEX  /* the first: FS_OK, entry */
           "00000001" FAILURE_HEX, /* the second: FS_EXISTS, reason */
           .status = FS_OK,
           .fs_upload_many_res_u.many =
               {.files = {2, (fs_entry_res[]){{.status = FS_OK, .fs_entry_res_u.entry = ENTRY_A},
                                              {.status = FS_EXISTS, .fs_entry_res_u.failure = FAILURE}}}}),
    GOLDEN(fs_upload_many_res, "FS_UNAVAILABLE",
           "0000000b" /* status */
           FAILURE_HEX,
           .status = FS_UNAVAILABLE, .fs_upload_many_res_u.failure = FAILURE),

    GOLDEN(fs_upload_open_args, "size known",
           ID_10_HEX            /* upload */
           "00000003 612f6200"  /* name "a/b" */
           "00000001"           /* policy FS_REPLACE */
           ID_20_HEX            /* expected */
           "00000001"           /* size_known */
           "00000001 2a05f200", /* size 5,000,000,000 */
           .upload = ID(0x10), .name = BYTES("a/b"), .policy = FS_REPLACE, .expected = ID(0x20),
           .size_known = TRUE, .size = 5000000000ULL),
    GOLDEN(fs_upload_open_args, "size not known",
           ID_10_HEX            /* upload */
           "00000004 61626364"  /* name "abcd" */
           "00000000"           /* policy FS_FAIL */
           NO_ID_HEX            /* expected: any */
           "00000000"           /* size_known */
           "00000000 00000000", /* size */
           .upload = ID(0x10), .name = BYTES("abcd"), .policy = FS_FAIL, .expected = NO_ID,
           .size_known = FALSE, .size = 0),

    GOLDEN(fs_upload_open_res, "FS_OK, half of it held",
           "00000000"           /* status */
           "00000000 80000000"  /* held 2^31 */
           "00000010" ID_90_HEX /* digest */
           "00000000",          /* not published */
           .status = FS_OK,
           .fs_upload_open_res_u.state = {.held = 0x80000000, .digest = DIGEST(0x90), .published = NULL}),
    GOLDEN(fs_upload_open_res, "FS_OK, published",
           "00000000"              /* status */
           "00000001 2a05f200"     /* held 5,000,000,000 */
           "00000000"              /* digest, empty */
           "00000001" ENTRY_A_HEX, /* published */
           .status = FS_OK,
           .fs_upload_open_res_u.state = {.held = 5000000000ULL,
                                          .digest = NO_BYTES,
                                          .published = &(fs_entry)ENTRY_A}),
    GOLDEN(fs_upload_open_res, "FS_NOSPACE",
           "00000008" /* status */
           FAILURE_HEX,
           .status = FS_NOSPACE, .fs_upload_open_res_u.failure = FAILURE),

    GOLDEN(fs_upload_data_args, "seven bytes at 4 GiB",
           ID_10_HEX                     /* upload */
           "00000001 00000000"           /* offset 2^32 */
           "00000007 41424344 45464700", /* content "ABCDEFG" */
           .upload = ID(0x10), .offset = 0x100000000, .content = BYTES("ABCDEFG")),
    GOLDEN(fs_upload_data_args, "no bytes",
           ID_10_HEX           /* upload */
           "00000000 00000001" /* offset 1 */
           "00000000",         /* content */
           .upload = ID(0x10), .offset = 1, .content = NO_BYTES),

    GOLDEN(fs_upload_data_res, "FS_OK",
           "00000000"          /* status */
           "00000001 00000007" /* held 2^32 + 7 */
           "00000000",         /* reason */
           .status = FS_OK, .held = 0x100000007, .reason = NO_BYTES),
    GOLDEN(fs_upload_data_res, "FS_OFFSET",
           "00000005"                             /* status */
           "00000000 00000100"                    /* held 256 */
           "00000009 68656c64 20697320 39000000", /* reason "held is 9" */
           .status = FS_OFFSET, .held = 256, .reason = BYTES("held is 9")),

    GOLDEN(fs_upload_commit_args, "size and digest",
           ID_10_HEX                     /* upload */
           "00000001 2a05f200"           /* size 5,000,000,000 */
           "00000010" ID_90_HEX          /* digest */
           "ffffffff fffffffe 3b9ac9ff", /* mtime 2 s before 1970, 999,999,999 ns */
           .upload = ID(0x10), .size = 5000000000ULL, .digest = DIGEST(0x90), .mtime = {-2, 999999999}),
    GOLDEN(fs_upload_commit_args, "the server's own digest counts",
           ID_10_HEX                     /* upload */
           "00000000 00000000"           /* size */
           "00000000"                    /* digest, empty */
           "00000000 6553f100 00000000", /* mtime */
           .upload = ID(0x10), .size = 0, .digest = NO_BYTES, .mtime = {1700000000, 0}),

    GOLDEN(fs_upload_abort_args, "an upload", ID_F0_HEX, /* upload */
           .upload = ID(0xf0)),

    GOLDEN(fs_done_res, "FS_OK",
           "00000000"  /* status */
           "00000000", /* reason */
           .status = FS_OK, .reason = NO_BYTES),
    GOLDEN(fs_done_res, "FS_ABSENT",
           "00000002"   /* status */
           FAILURE_HEX, /* reason: the same bytes as a failure's */
           .status = FS_ABSENT, .reason = BYTES("no such file!")),
};
/* clang-format on */

const struct golden_family golden_uploads = GOLDEN_FAMILY(cases);
