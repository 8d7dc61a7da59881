/*
 * golden: values of every argument and result type of proto/fileshare.x, each
 * with its bytes on the wire written out by hand.
 *
 * A family of procedures is a file here; wire/golden_bytes_test.c holds the
 * code to the bytes, wire/golden_cover_test.c holds this list to the .x, and
 * fuzz/ begins from these bytes. All of it is constant and lives for ever.
 *
 * How to read the hex: RFC 4506. An item is a multiple of four bytes, big
 * endian; opaque<> is a count, the bytes, zeros up to the next multiple of four;
 * an optional item is a boolean, then the item if that is 1; a union is its
 * discriminant, then the arm.
 */
#pragma once

#include "proto/fileshare.h"

#include <stddef.h>
#include <stdint.h>

struct golden {
    const char *type;  /* as the .x calls it */
    const char *label; /* what this one shows */
    xdrproc_t xdr;
    size_t size; /* of the C type */
    const void *value;
    const char *hex; /* blanks are skipped */
};

struct golden_family {
    const struct golden *cases;
    size_t count;
};

extern const struct golden_family golden_hello, golden_uploads, golden_files, golden_interests,
    golden_mailboxes;

/* All families; the count goes to `*count`. */
const struct golden_family *const *golden_families(size_t *count);

/*
 * Reads `hex` into `bytes`; the number of bytes goes to `*length`. False: a
 * character that is no hex digit, an odd digit, or more than `room` bytes.
 */
bool_t golden_bytes(const char *hex, uint8_t *bytes, size_t room, size_t *length);

/* ---- for the families: how a value is written ---- */

/* clang-format off: a line of hex is a field */

#define GOLDEN(type_, label_, hex_, ...)                                                          \
    {                                                                                             \
#type_, label_, (xdrproc_t)xdr_##type_, sizeof(type_), &(const type_){__VA_ARGS__ }, hex_ \
    }

#define GOLDEN_FAMILY(cases_)                      \
    {                                              \
        cases_, sizeof(cases_) / sizeof(cases_[0]) \
    }

/* An opaque<> that holds a string's bytes. */
#define BYTES(text_)                \
    {                               \
        sizeof(text_) - 1, (char[]) \
        {                           \
            text_                   \
        }                           \
    }
#define NO_BYTES \
    {            \
        0, NULL  \
    }

/* Sixteen bytes counted up from `first_`; ID_10_HEX is ID(0x10), and so on. */
#define ID_OCTETS(first_)                                                                                   \
    (char)(first_), (char)((first_) + 1), (char)((first_) + 2), (char)((first_) + 3), (char)((first_) + 4), \
        (char)((first_) + 5), (char)((first_) + 6), (char)((first_) + 7), (char)((first_) + 8),             \
        (char)((first_) + 9), (char)((first_) + 10), (char)((first_) + 11), (char)((first_) + 12),          \
        (char)((first_) + 13), (char)((first_) + 14), (char)((first_) + 15)
#define ID(first_)            \
    {                         \
        {                     \
            ID_OCTETS(first_) \
        }                     \
    }
#define NO_ID \
    {         \
        {     \
            0 \
        }     \
    }
#define DIGEST(first_)        \
    {                         \
        16, (char[])          \
        {                     \
            ID_OCTETS(first_) \
        }                     \
    }

#define NO_ID_HEX "00000000 00000000 00000000 00000000 "
#define ID_10_HEX "10111213 14151617 18191a1b 1c1d1e1f "
#define ID_20_HEX "20212223 24252627 28292a2b 2c2d2e2f "
#define ID_30_HEX "30313233 34353637 38393a3b 3c3d3e3f "
#define ID_40_HEX "40414243 44454647 48494a4b 4c4d4e4f "
#define ID_90_HEX "90919293 94959697 98999a9b 9c9d9e9f "
#define ID_F0_HEX "f0f1f2f3 f4f5f6f7 f8f9fafb fcfdfeff "

/* The arm of everything that is not FS_OK. */
#define FAILURE_HEX                                               \
    "0000000d "                            /* reason, 13 bytes */ \
    "6e6f2073 75636820 66696c65 21000000 " /* "no such file!", 3 of padding */
#define FAILURE                \
    {                          \
        BYTES("no such file!") \
    }

/* Two entries: one of everyday, one with each field at a border. */
#define ENTRY_A                                                                          \
    {                                                                                    \
        .name = BYTES("a/b.c"), .size = 5000000000ULL, .mtime = {1700000000, 999999999}, \
        .arrival = {1700000001, 1}, .owner = BYTES("unix:1000"), .digest = DIGEST(0x90), \
        .revision = ID(0x10)                                                             \
    }
#define ENTRY_A_HEX                                                                    \
    "00000005 612f622e 63000000 "          /* name "a/b.c" */                          \
    "00000001 2a05f200 "                   /* size 5,000,000,000 */                    \
    "00000000 6553f100 3b9ac9ff "          /* mtime 1,700,000,000 s, 999,999,999 ns */ \
    "00000000 6553f101 00000001 "          /* arrival 1,700,000,001 s, 1 ns */         \
    "00000009 756e6978 3a313030 30000000 " /* owner "unix:1000" */                     \
    "00000010 " ID_90_HEX                  /* digest, 16 bytes */                      \
        ID_10_HEX                          /* revision */

#define ENTRY_B                                                                             \
    {                                                                                       \
        .name = BYTES("\xc3\xa4"), .size = UINT64_MAX, .mtime = {-1, 0}, .arrival = {0, 0}, \
        .owner = NO_BYTES, .digest = NO_BYTES, .revision = ID(0xf0)                         \
    }
#define ENTRY_B_HEX                                                          \
    "00000002 c3a40000 "          /* name: one letter, two bytes of UTF-8 */ \
    "ffffffff ffffffff "          /* size 2^64 - 1 */                        \
    "ffffffff ffffffff 00000000 " /* mtime one second before 1970 */         \
    "00000000 00000000 00000000 " /* arrival at 1970 */                      \
    "00000000 "                   /* owner, empty */                         \
    "00000000 "                   /* digest, empty */                        \
        ID_F0_HEX                 /* revision */

#define EVENT_ARRIVED                                                                       \
    {                                                                                       \
        .number = 7, .kind = FS_ARRIVED, .interest = ID(0x20), .happened = {1700000002, 2}, \
        .pattern = BYTES("a/*"), .entry = &(fs_entry)ENTRY_A, .dropped = 0                  \
    }
#define EVENT_ARRIVED_HEX                                        \
    "00000000 00000007 "          /* number */                   \
    "00000000 "                   /* kind FS_ARRIVED */          \
        ID_20_HEX                 /* interest */                 \
    "00000000 6553f102 00000002 " /* happened */                 \
    "00000003 612f2a00 "          /* pattern, "a/" and a star */ \
    "00000001 " ENTRY_A_HEX       /* entry, there */             \
    "00000000 00000000 "          /* dropped */

#define EVENT_EXPIRED                                                                       \
    {                                                                                       \
        .number = 8, .kind = FS_EXPIRED, .interest = ID(0x30), .happened = {1700000003, 0}, \
        .pattern = BYTES("late"), .entry = NULL, .dropped = 0                               \
    }
#define EVENT_EXPIRED_HEX                                          \
    "00000000 00000008 "          /* number */                     \
    "00000001 "                   /* kind FS_EXPIRED */            \
        ID_30_HEX                 /* interest */                   \
    "00000000 6553f103 00000000 " /* happened */                   \
    "00000004 6c617465 "          /* pattern "late", no padding */ \
    "00000000 "                   /* no entry */                   \
    "00000000 00000000 "          /* dropped */

#define EVENT_DROPPED                                                                              \
    {                                                                                              \
        .number = 0x100000009, .kind = FS_DROPPED, .interest = NO_ID, .happened = {1700000004, 0}, \
        .pattern = NO_BYTES, .entry = NULL, .dropped = 12                                          \
    }
#define EVENT_DROPPED_HEX                               \
    "00000001 00000009 "          /* number 2^32 + 9 */ \
    "00000002 "                   /* kind FS_DROPPED */ \
        NO_ID_HEX                 /* interest, none */  \
    "00000000 6553f104 00000000 " /* happened */        \
    "00000000 "                   /* pattern, none */   \
    "00000000 "                   /* no entry */        \
    "00000000 0000000c "          /* dropped */

#define CALLBACK                                                                                            \
    {                                                                                                       \
        .prog = 0x40000123, .netid = BYTES("tcp"), .address = BYTES("127.0.0.1.160.11"), .proof = ID(0x30), \
        .ticket = ID(0x40), .reversed = TRUE                                                                \
    }
#define CALLBACK_HEX                                                                 \
    "40000123 "                                     /* prog */                       \
    "00000003 74637000 "                            /* netid "tcp" */                \
    "00000010 3132372e 302e302e 312e3136 302e3131 " /* address "127.0.0.1.160.11" */ \
        ID_30_HEX                                   /* proof */                      \
            ID_40_HEX                               /* ticket */                     \
    "00000001 "                                     /* reversed */

#define NO_CALLBACK                                                                         \
    {                                                                                       \
        .prog = 0, .netid = NO_BYTES, .address = NO_BYTES, .proof = NO_ID, .ticket = NO_ID, \
        .reversed = FALSE                                                                   \
    }
#define NO_CALLBACK_HEX                        \
    "00000000 "       /* prog: no dial-back */ \
    "00000000 "       /* netid */              \
    "00000000 "       /* address */            \
        NO_ID_HEX     /* proof */              \
            NO_ID_HEX /* ticket */             \
    "00000000 "       /* reversed */
/* clang-format on */
