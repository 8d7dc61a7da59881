/*
 * store_subject: a store under test, in a folder of its own, on a test clock.
 *
 * The conformance suite sees nothing but the struct store; how one is opened,
 * and opened again after a stop, is the subject's affair.
 */
#pragma once

#include "server/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct subject {
    char folder[64];
    struct clock clock;
    struct store_limits limits;
    struct store_faulty_plan plan; /* every = 0: no faults */
    struct store *store;
    const struct store_acts *acts;
};

/* What a test may set before the store is opened; the defaults but smaller where a test would be slow. */
struct subject *subject_new(void);
void subject_open(struct subject *subject);
/* Closes and opens again. */
void subject_restart(struct subject *subject);
void subject_free(struct subject *subject);
void subject_remove_folder(const char *folder);

/* cmocka's setup and teardown: *state is an open struct subject. */
int subject_setup(void **state);
int subject_teardown(void **state);
/* From now on subject_setup wraps stores in a faulty one (NULL: no more). */
void subject_use_faults(const struct store_faulty_plan *plan);

/* The failure of the last act done by these; tests that call the store themselves use it too. */
extern struct failure store_why;

extern const struct store_caller alice, bob, root;

/* Does the act again, with the same ids, until it is neither refused for now nor in doubt. */
#define CERTAIN(act)                                                                                        \
    ({                                                                                                      \
        enum outcome certain_ = OUTCOME_UNKNOWN;                                                            \
        for (int n_ = 0; n_ < 50 && (certain_ == OUTCOME_UNKNOWN || certain_ == OUTCOME_UNAVAILABLE); n_++) \
            certain_ = (act);                                                                               \
        certain_;                                                                                           \
    })

/*
 * Acts with the usual arguments. Each repeats an act answered UNAVAILABLE or
 * UNKNOWN, with the same id, as a client does, and returns the final outcome.
 */
enum outcome put(struct subject *subject, const struct store_caller *caller, const char *name,
                 const char *text, struct store_entry *out);
enum outcome put_as(struct subject *subject, const struct store_caller *caller, const struct store_put *put,
                    struct store_entry *out);
enum outcome put_many(struct subject *subject, const struct store_caller *caller,
                      const struct store_put *puts, size_t count, struct store_put_answer *answers);
enum outcome replace(struct subject *subject, const struct store_caller *caller, const char *name,
                     const char *text, struct store_entry *out);
enum outcome begin(struct subject *subject, const struct store_caller *caller,
                   const struct store_upload_begin *begin, struct store_upload_state *out);
enum outcome upload_write(struct subject *subject, const struct store_caller *caller, const struct id *upload,
                          uint64_t offset, const void *bytes, size_t count, uint64_t *held);
enum outcome publish(struct subject *subject, const struct store_caller *caller,
                     const struct store_publish *publish, struct store_entry *out);
enum outcome abort_upload(struct subject *subject, const struct store_caller *caller,
                          const struct id *upload);
enum outcome stat_name(struct subject *subject, const char *name, struct store_entry *out);
enum outcome list_page(struct subject *subject, const char *glob, const char *cursor, size_t limit,
                       struct store_entry *entries, struct store_page *page);
enum outcome remove_name(struct subject *subject, const struct store_caller *caller, const struct id *op,
                         const char *name, const struct id *expected);
enum outcome rename_as(struct subject *subject, const struct store_caller *caller,
                       const struct store_rename *rename, struct store_entry *out);
/* The content of a version (none: the newest), NUL-ended, at most size - 1 bytes. */
enum outcome content(struct subject *subject, const char *name, const struct id *version, char *out,
                     size_t size);

enum outcome interest(struct subject *subject, const struct store_caller *caller,
                      const struct store_interest_add *add, struct store_entry *entries, size_t capacity,
                      struct store_registration *out);
/* Alice's, in that mailbox; the interest's id. */
struct id alice_waits(struct subject *subject, const struct id *mailbox, const char *pattern,
                      uint32_t seconds, bool every);
/* Until nothing is left. */
void fan_out(struct subject *subject);
size_t events(struct subject *subject, const struct id *mailbox, uint64_t since, struct store_event *events,
              size_t capacity, bool *more);
enum outcome drop(struct subject *subject, const struct store_caller *caller,
                  const struct store_interest_drop *drop, struct store_cancelled *rows, size_t capacity,
                  size_t *count, bool *more);
enum outcome renew(struct subject *subject, const struct store_caller *caller, const struct id *op,
                   const struct id *mailbox, const struct id *interest, uint32_t seconds, uint32_t *left);
size_t interests(struct subject *subject, const struct id *mailbox, struct store_interest *rows,
                 size_t capacity);
/* Until nothing is left; the sum of what went. total and next_due may be NULL. */
void sweep(struct subject *subject, struct store_sweep *total, int64_t *next_due);

/* Fails the test with the failure's text. */
#define assert_ok(outcome)                assert_outcome((outcome), OUTCOME_OK)
#define assert_outcome(outcome, expected) assert_outcome_at((outcome), (expected), __FILE__, __LINE__)
void assert_outcome_at(enum outcome outcome, enum outcome expected, const char *file, int line);

/* Pseudo-random bytes that depend on the seed alone. */
void fill(uint8_t *bytes, size_t count, unsigned seed);
void step(struct subject *subject, unsigned seconds);
