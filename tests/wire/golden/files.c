/* DOWNLOAD, DOWNLOAD_MANY, LIST, STAT, REMOVE, RENAME. */
#include "wire/golden/golden.h"

/* clang-format off: a line of hex is a field */
static const struct golden cases[] = {
    GOLDEN(fs_download_args, "a version from an offset",
           "00000003 612f6200" /* name "a/b" */
           ID_10_HEX           /* revision */
           "00000001 00000001" /* offset 2^32 + 1 */
           "00100000",         /* count 1,048,576 */
           .name = BYTES("a/b"), .revision = ID(0x10), .offset = 0x100000001, .count = 1048576),
    GOLDEN(fs_download_args, "the newest one's entry",
           "00000002 61620000" /* name "ab" */
           NO_ID_HEX           /* revision: the newest */
           "00000000 00000000" /* offset */
           "00000000",         /* count */
           .name = BYTES("ab"), .revision = NO_ID, .offset = 0, .count = 0),

    GOLDEN(fs_download_res, "FS_OK, the last bytes",
           "00000000"                    /* status */
           ENTRY_A_HEX                   /* entry */
           "00000001"                    /* eof */
           "00000006 0a0b0c0d 0e0f0000", /* content, six bytes */
           .status = FS_OK,
           .fs_download_res_u.download = {.entry = ENTRY_A,
                                          .eof = TRUE,
                                          .content = BYTES("\x0a\x0b\x0c\x0d\x0e\x0f")}),
    GOLDEN(fs_download_res, "FS_OK, the entry alone",
           "00000000"  /* status */
           ENTRY_B_HEX /* entry */
           "00000000"  /* eof */
           "00000000", /* content */
           .status = FS_OK,
           .fs_download_res_u.download = {.entry = ENTRY_B, .eof = FALSE, .content = NO_BYTES}),
    GOLDEN(fs_download_res, "FS_STALE",
           "00000004" /* status */
           FAILURE_HEX,
           .status = FS_STALE, .fs_download_res_u.failure = FAILURE),

    GOLDEN(fs_download_many_args, "a version and a newest one",
           "00000002"          /* files */
           "00000003 612f6200" /* the first: name "a/b" */
           ID_10_HEX           /* revision */
           "00000002 61620000" /* the second: name "ab" */
           NO_ID_HEX,          /* revision: the newest */
           .files = {2, (fs_download_one[]){{.name = BYTES("a/b"), .revision = ID(0x10)},
                                            {.name = BYTES("ab"), .revision = NO_ID}}}),
    GOLDEN(fs_download_many_args, "none", "00000000", /* files */
           .files = {0, NULL}),

    GOLDEN(
        fs_download_many_res, "FS_OK, a file, one too large, one that is not there",
        "00000000"                   /* status */
        "00000003"                   /* files */
        "00000000" ENTRY_A_HEX       /* the first: FS_OK, entry */
        "00000001"                   /* eof */
        "00000006 0a0b0c0d 0e0f0000" /* content, six bytes */
        "00000000" ENTRY_B_HEX       /* the second: FS_OK, entry */
        "00000000"                   /* eof: not all of it */
        "00000000"                   /* content, none */
        "00000002" FAILURE_HEX,      /* the third: FS_ABSENT, reason */
        .status = FS_OK,
        .fs_download_many_res_u.many =
            {.files =
                 {3,
                  (fs_download_res[]){
                      {.status = FS_OK,
                       .fs_download_res_u
                           .download =
                           {.entry = ENTRY_A, .eof = TRUE, .content = BYTES("\x0a\x0b\x0c\x0d\x0e\x0f")}},
                      {.status = FS_OK,
                       .fs_download_res_u
                           .download = {.entry = ENTRY_B, .eof = FALSE, .content = NO_BYTES}},
                      {.status = FS_ABSENT, .fs_download_res_u.failure = FAILURE}}}}),
    GOLDEN(fs_download_many_res, "FS_UNAVAILABLE",
           "0000000b" /* status */
           FAILURE_HEX,
           .status = FS_UNAVAILABLE, .fs_download_many_res_u.failure = FAILURE),

    GOLDEN(fs_list_args, "the next page of a glob",
           "00000005 2a2e7478 74000000" /* glob: star, ".txt" */
           "00000005 622e7478 74000000" /* cursor "b.txt" */
           "00000064",                  /* limit 100 */
           .glob = BYTES("*.txt"), .cursor = BYTES("b.txt"), .limit = 100),
    GOLDEN(fs_list_args, "all, from the start",
           "00000000"  /* glob */
           "00000000"  /* cursor */
           "00000400", /* limit 1,024 */
           .glob = NO_BYTES, .cursor = NO_BYTES, .limit = 1024),

    GOLDEN(fs_list_res, "FS_OK, two entries and more to come",
           "00000000"           /* status */
           "00000002"           /* entries */
           ENTRY_A_HEX          /* the first */
               ENTRY_B_HEX      /* the second */
           "00000001"           /* more */
           "00000002 c3a40000", /* cursor */
           .status = FS_OK,
           .fs_list_res_u.page = {.entries = {2, (fs_entry[]){ENTRY_A, ENTRY_B}},
                                  .more = TRUE,
                                  .cursor = BYTES("\xc3\xa4")}),
    GOLDEN(fs_list_res, "FS_OK, an empty page",
           "00000000"  /* status */
           "00000000"  /* entries */
           "00000000"  /* more */
           "00000000", /* cursor */
           .status = FS_OK, .fs_list_res_u.page = {.entries = {0, NULL}, .more = FALSE, .cursor = NO_BYTES}),
    GOLDEN(fs_list_res, "FS_INVALID",
           "00000007" /* status */
           FAILURE_HEX,
           .status = FS_INVALID, .fs_list_res_u.failure = FAILURE),

    GOLDEN(fs_stat_args, "a name", "00000008 612f622f 632f642e", /* name, eight bytes and no padding */
           .name = BYTES("a/b/c/d.")),

    GOLDEN(fs_remove_args, "one version",
           ID_10_HEX           /* op */
           "00000001 61000000" /* name "a" */
           ID_20_HEX,          /* expected */
           .op = ID(0x10), .name = BYTES("a"), .expected = ID(0x20)),
    GOLDEN(fs_remove_args, "whatever is there",
           ID_10_HEX           /* op */
           "00000001 61000000" /* name "a" */
           NO_ID_HEX,          /* expected */
           .op = ID(0x10), .name = BYTES("a"), .expected = NO_ID),

    GOLDEN(fs_rename_args, "over a file that is there",
           ID_10_HEX           /* op */
           "00000003 6f6c6400" /* source "old" */
           "00000004 6e657721" /* target "new!" */
           "00000001"          /* policy FS_REPLACE */
           ID_20_HEX,          /* expected */
           .op = ID(0x10), .source = BYTES("old"), .target = BYTES("new!"), .policy = FS_REPLACE,
           .expected = ID(0x20)),
    GOLDEN(fs_rename_args, "to a free name",
           ID_10_HEX           /* op */
           "00000003 6f6c6400" /* source "old" */
           "00000003 6e657700" /* target "new" */
           "00000000"          /* policy FS_FAIL */
           NO_ID_HEX,          /* expected */
           .op = ID(0x10), .source = BYTES("old"), .target = BYTES("new"), .policy = FS_FAIL,
           .expected = NO_ID),
};
/* clang-format on */

const struct golden_family golden_files = GOLDEN_FAMILY(cases);
