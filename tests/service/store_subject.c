#include "place.h"
#include "service/store_subject.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct store_caller alice = {.principal = "unix:1000"};
const struct store_caller bob = {.principal = "unix:1001"};
const struct store_caller root = {.principal = "unix:0", .superior = true};

static struct store_faulty_plan faults;
struct failure store_why;

void subject_use_faults(const struct store_faulty_plan *plan)
{
    faults = plan ? *plan : (struct store_faulty_plan){0};
}

struct subject *subject_new(void)
{
    struct subject *subject = calloc(1, sizeof *subject);
    assert_non_null(subject);
    /* In memory where that is at hand: the suite syncs some thousand times. */
    assert_non_null(place_make(subject->folder, place_in_memory(), "store"));
    clock_test_init(&subject->clock, 5 * (int64_t)CLOCK_SECOND, INT64_C(1700000000) * CLOCK_SECOND);
    subject->limits = store_limits_default();
    subject->plan = faults;
    return subject;
}

void subject_open(struct subject *subject)
{
    struct store_local_options options = {
        .folder = subject->folder,
        .limits = subject->limits,
        .clock = &subject->clock,
    };
    assert_ok(store_local_open(&options, &subject->store, &store_why));
    if (subject->plan.every > 0) {
        struct store *inner = subject->store;
        assert_ok(store_faulty_new(inner, &subject->plan, &subject->store, &store_why));
    }
    subject->acts = subject->store->acts;
}

void subject_restart(struct subject *subject)
{
    subject->acts->close(subject->store);
    subject_open(subject);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void subject_remove_folder(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void subject_free(struct subject *subject)
{
    if (subject->store)
        subject->acts->close(subject->store);
    subject_remove_folder(subject->folder);
    free(subject);
}

int subject_setup(void **state)
{
    struct subject *subject = subject_new();
    subject_open(subject);
    *state = subject;
    return 0;
}

int subject_teardown(void **state)
{
    subject_free(*state);
    return 0;
}

void assert_outcome_at(enum outcome outcome, enum outcome expected, const char *file, int line)
{
    if (outcome == expected)
        return;
    print_error("%s, not %s: %s\n", outcome_name(outcome), outcome_name(expected),
                outcome == OUTCOME_OK ? "" : store_why.text);
    _fail(file, line);
}

enum outcome put_as(struct subject *subject, const struct store_caller *caller, const struct store_put *put,
                    struct store_entry *out)
{
    struct store_entry unused;
    return CERTAIN(subject->acts->put(subject->store, caller, put, out ? out : &unused, &store_why));
}

static enum outcome put_text(struct subject *subject, const struct store_caller *caller, const char *name,
                             const char *text, bool may_replace, struct store_entry *out)
{
    struct store_put put = {
        .op = id_random(),
        .name = name,
        .content = text,
        .size = strlen(text),
        .condition.replace = may_replace,
        .mtime = 42,
    };
    return put_as(subject, caller, &put, out);
}

enum outcome put(struct subject *subject, const struct store_caller *caller, const char *name,
                 const char *text, struct store_entry *out)
{
    return put_text(subject, caller, name, text, false, out);
}

enum outcome put_many(struct subject *subject, const struct store_caller *caller,
                      const struct store_put *puts, size_t count, struct store_put_answer *answers)
{
    return CERTAIN(subject->acts->put_many(subject->store, caller, puts, count, answers, &store_why));
}

enum outcome replace(struct subject *subject, const struct store_caller *caller, const char *name,
                     const char *text, struct store_entry *out)
{
    return put_text(subject, caller, name, text, true, out);
}

enum outcome begin(struct subject *subject, const struct store_caller *caller,
                   const struct store_upload_begin *begin, struct store_upload_state *out)
{
    return CERTAIN(subject->acts->upload_begin(subject->store, caller, begin, out, &store_why));
}

enum outcome upload_write(struct subject *subject, const struct store_caller *caller, const struct id *upload,
                          uint64_t offset, const void *bytes, size_t count, uint64_t *held)
{
    return CERTAIN(
        subject->acts->upload_write(subject->store, caller, upload, offset, bytes, count, held, &store_why));
}

enum outcome publish(struct subject *subject, const struct store_caller *caller,
                     const struct store_publish *publish, struct store_entry *out)
{
    return CERTAIN(subject->acts->publish(subject->store, caller, publish, out, &store_why));
}

enum outcome abort_upload(struct subject *subject, const struct store_caller *caller, const struct id *upload)
{
    return CERTAIN(subject->acts->upload_abort(subject->store, caller, upload, &store_why));
}

enum outcome stat_name(struct subject *subject, const char *name, struct store_entry *out)
{
    struct store_entry unused;
    return CERTAIN(subject->acts->stat(subject->store, name, out ? out : &unused, &store_why));
}

struct taking {
    struct store_entry *entries;
    size_t room;
};

static bool take_entry(void *context, const struct store_entry *entry)
{
    struct taking *taking = context;
    assert_true(taking->room-- > 0);
    *taking->entries++ = *entry;
    return true;
}

enum outcome list_page(struct subject *subject, const char *glob, const char *cursor, size_t limit,
                       struct store_entry *entries, struct store_page *page)
{
    struct taking taking;
    struct store_list list = {.glob = glob,
                              .cursor = cursor,
                              .limit = limit,
                              .take = take_entry,
                              .context = &taking};
    return CERTAIN((taking = (struct taking){.entries = entries, .room = limit},
                    subject->acts->list(subject->store, &list, page, &store_why)));
}

enum outcome remove_name(struct subject *subject, const struct store_caller *caller, const struct id *op,
                         const char *name, const struct id *expected)
{
    struct id none = {0}, fresh = id_random();
    return CERTAIN(subject->acts->remove(subject->store, caller, op ? op : &fresh, name,
                                         expected ? expected : &none, &store_why));
}

enum outcome rename_as(struct subject *subject, const struct store_caller *caller,
                       const struct store_rename *rename, struct store_entry *out)
{
    struct store_entry unused;
    return CERTAIN(subject->acts->rename(subject->store, caller, rename, out ? out : &unused, &store_why));
}

/* The first `size - 1` bytes of what is open; closes it. */
static enum outcome read_and_close(struct subject *subject, struct store_read *read, uint64_t whole,
                                   char *out, size_t size)
{
    size_t count = whole < size - 1 ? (size_t)whole : size - 1;
    enum outcome outcome = CERTAIN(subject->acts->read_at(read, 0, out, count, &store_why));
    out[count] = 0;
    subject->acts->read_close(read);
    return outcome;
}

static bool keep_found(void *context, const struct store_found *found)
{
    struct store_found *kept = context;
    *kept = *found;
    return true;
}

/* Opened by itself or as one of many, a version is the same. */
static void compare_with_many(struct subject *subject, const struct store_wanted *wanted, enum outcome alone,
                              const struct store_entry *entry, const char *bytes, size_t size)
{
    struct store_found found = {0};
    const struct store_read_many many = {wanted, 1, keep_found, &found};
    enum outcome outcome = CERTAIN(({
        enum outcome all = subject->acts->read_open_many(subject->store, &many, &found.why);
        if (all != OUTCOME_OK && found.outcome == OUTCOME_OK && found.read) {
            subject->acts->read_close(found.read);
            found.read = NULL;
        }
        all == OUTCOME_OK ? found.outcome : all;
    }));
    assert_int_equal(outcome, alone);
    if (outcome != OUTCOME_OK) {
        assert_true(found.why.text[0] != '\0');
        return;
    }
    assert_string_equal(found.entry.name, entry->name);
    assert_string_equal(found.entry.owner, entry->owner);
    assert_true(id_equal(&found.entry.version, &entry->version));
    assert_int_equal(found.entry.size, entry->size);
    assert_int_equal(found.entry.mtime, entry->mtime);
    assert_int_equal(found.entry.arrival, entry->arrival);
    assert_memory_equal(&found.entry.digest, &entry->digest, sizeof entry->digest);
    char *back = malloc(size);
    assert_non_null(back);
    assert_ok(read_and_close(subject, found.read, found.entry.size, back, size));
    assert_string_equal(back, bytes);
    free(back);
}

enum outcome content(struct subject *subject, const char *name, const struct id *version, char *out,
                     size_t size)
{
    struct store_wanted wanted = {.name = name};
    struct store_read *read = NULL;
    struct store_entry entry = {0};
    if (version)
        wanted.version = *version;
    enum outcome outcome = CERTAIN(
        subject->acts->read_open(subject->store, name, &wanted.version, &read, &entry, &store_why));
    bool opened = outcome == OUTCOME_OK;
    if (opened)
        outcome = read_and_close(subject, read, entry.size, out, size);
    if (opened == (outcome == OUTCOME_OK))
        compare_with_many(subject, &wanted, outcome, &entry, out, size);
    return outcome;
}

void fill(uint8_t *bytes, size_t count, unsigned seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < count; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)(x >> 32);
    }
}

void step(struct subject *subject, unsigned seconds)
{
    clock_test_step(&subject->clock, (int64_t)seconds * CLOCK_SECOND);
}

enum outcome interest(struct subject *subject, const struct store_caller *caller,
                      const struct store_interest_add *add, struct store_entry *entries, size_t capacity,
                      struct store_registration *out)
{
    return CERTAIN(
        subject->acts->interest_add(subject->store, caller, add, entries, capacity, out, &store_why));
}

struct id alice_waits(struct subject *subject, const struct id *mailbox, const char *pattern,
                      uint32_t seconds, bool every)
{
    struct store_interest_add add = {
        .mailbox = *mailbox,
        .interest = id_random(),
        .pattern = pattern,
        .seconds = seconds,
        .every = every,
    };
    struct store_registration made;
    assert_ok(interest(subject, &alice, &add, NULL, 0, &made));
    return add.interest;
}

void fan_out(struct subject *subject)
{
    bool left = true;
    while (left)
        assert_ok(CERTAIN(subject->acts->fan_out(subject->store, 10, &left, &store_why)));
}

size_t events(struct subject *subject, const struct id *mailbox, uint64_t since, struct store_event *events,
              size_t capacity, bool *more)
{
    size_t count = 0;
    assert_ok(CERTAIN(subject->acts->mailbox_events(subject->store, mailbox, since, events, capacity, &count,
                                                    more, &store_why)));
    return count;
}

enum outcome drop(struct subject *subject, const struct store_caller *caller,
                  const struct store_interest_drop *drop, struct store_cancelled *rows, size_t capacity,
                  size_t *count, bool *more)
{
    return CERTAIN(
        subject->acts->interest_drop(subject->store, caller, drop, rows, capacity, count, more, &store_why));
}

enum outcome renew(struct subject *subject, const struct store_caller *caller, const struct id *op,
                   const struct id *mailbox, const struct id *id, uint32_t seconds, uint32_t *left)
{
    return CERTAIN(
        subject->acts->interest_renew(subject->store, caller, op, mailbox, id, seconds, left, &store_why));
}

size_t interests(struct subject *subject, const struct id *mailbox, struct store_interest *rows,
                 size_t capacity)
{
    struct id start = {0};
    size_t count = 0;
    bool more = false;
    assert_ok(CERTAIN(subject->acts->interest_list(subject->store, mailbox, &start, rows, capacity, &count,
                                                   &more, &store_why)));
    assert_false(more);
    return count;
}

void sweep(struct subject *subject, struct store_sweep *total, int64_t *next_due)
{
    struct store_sweep sum = {0}, one = {0};
    int64_t next = 0;
    bool left = true;
    while (left) {
        assert_ok(CERTAIN(subject->acts->sweep(subject->store, &one, &left, &next, &store_why)));
        sum.uploads += one.uploads;
        sum.blobs += one.blobs;
        sum.answers += one.answers;
        sum.interests += one.interests;
        sum.mailboxes += one.mailboxes;
        sum.events += one.events;
    }
    if (total)
        *total = sum;
    if (next_due)
        *next_due = next;
}
