/*
 * must: what a test says that has to be so, at once or in the end; otherwise the test fails. The main thread's.
 *
 * Include it after <cmocka.h>.
 */
#pragma once

#include "client/daemon.h"

#include <unistd.h>

/* The library answers FILESHARE_OK; `error` is the struct that the call was given. */
#define must(call, error)                                         \
    do {                                                          \
        enum fileshare_status status_ = (call);                   \
        if (status_ != FILESHARE_OK)                              \
            fail_msg("%s: %d: %s", #call, status_, (error).text); \
    } while (0)

/* Looked at again and again, for so long times slowness(). */
#define until_within(within_ms, condition)                                 \
    do {                                                                   \
        int64_t until_ = milliseconds() + (int64_t)(within_ms)*slowness(); \
        while (!(condition)) {                                             \
            if (milliseconds() > until_)                                   \
                fail_msg("not within %d ms: %s", within_ms, #condition);   \
            usleep(5000);                                                  \
        }                                                                  \
    } while (0)
