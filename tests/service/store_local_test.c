/* What is the embedded store's own: its folder, its lock, what a crash leaves, what damage looks like. */
#include "service/store_subject.h"
#include "server/store/local/schema.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static enum outcome open_again(struct subject *s, struct store **out)
{
    struct store_local_options options = {.folder = s->folder, .limits = s->limits, .clock = &s->clock};
    return store_local_open(&options, out, &store_why);
}

static void close_it(struct subject *s)
{
    s->acts->close(s->store);
    s->store = NULL;
}

/* Runs `work` in a process that ends without closing anything; nor does valgrind look at what it leaves. */
static void in_a_crash(struct subject *s, void (*work)(struct subject *s))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        subject_open(s);
        work(s);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static size_t count_files(const char *folder, const char *below)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, below);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t count = 0;
    for (struct dirent *at = readdir(dir); at; at = readdir(dir))
        count += at->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* The path of the only blob there is. */
static void only_blob(const char *folder, char path[512])
{
    *path = 0;
    for (unsigned shard = 0; shard < 256; shard++) {
        char below[16];
        snprintf(below, sizeof below, "blobs/%02x", shard);
        if (count_files(folder, below) == 0)
            continue;
        char where[300];
        snprintf(where, sizeof where, "%s/%s", folder, below);
        DIR *dir = opendir(where);
        for (struct dirent *at = readdir(dir); at; at = readdir(dir))
            if (at->d_name[0] != '.')
                snprintf(path, 512, "%.200s/%.64s", where, at->d_name);
        closedir(dir);
    }
    assert_true(*path);
}

static void put_bytes(struct subject *s, const char *name, size_t count)
{
    uint8_t *bytes = malloc(count);
    fill(bytes, count, 5);
    struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = count};
    assert_ok(put_as(s, &alice, &p, NULL));
    free(bytes);
}

/* ---- opening ---- */

static void one_server_per_store(void **state)
{
    struct subject *s = *state;
    struct store *second = NULL;
    char who[32];
    snprintf(who, sizeof who, "process %ld", (long)getpid());
    assert_outcome(open_again(s, &second), OUTCOME_HELD);
    assert_non_null(strstr(store_why.text, who));
    assert_non_null(strstr(store_why.text, s->folder));
    assert_null(second);
    close_it(s);
    assert_ok(open_again(s, &second));
    second->acts->close(second);
}

static void folder_is_private(void **state)
{
    struct subject *s = *state;
    close_it(s);
    char path[128];
    snprintf(path, sizeof path, "%s/below/store", s->folder);
    struct store_local_options options = {.folder = path, .limits = s->limits, .clock = &s->clock};
    struct store *store;
    assert_ok(store_local_open(&options, &store, &store_why));
    struct id first = store->acts->instance(store);
    store->acts->close(store);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_ok(store_local_open(&options, &store, &store_why));
    struct id second = store->acts->instance(store);
    assert_memory_equal(&first, &second, sizeof first);
    store->acts->close(store);
}

/* Writes four bytes of the database's header. */
static void damage_header(struct subject *s, off_t at, uint32_t value)
{
    char path[128];
    snprintf(path, sizeof path, "%s/fileshare.db", s->folder);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    assert_int_equal(pwrite(fd, bytes, 4, at), 4);
    close(fd);
}

static void what_cannot_be_opened(void **state)
{
    struct subject *s = *state;
    struct store *store = NULL;
    close_it(s);
    damage_header(s, 60, SCHEMA_VERSION + 1); /* SQLite's user_version */
    assert_outcome(open_again(s, &store), OUTCOME_INVALID);
    assert_non_null(strstr(store_why.text, "newer"));
    damage_header(s, 60, SCHEMA_VERSION);
    assert_ok(open_again(s, &store));
    store->acts->close(store);
    damage_header(s, 68, 7); /* its application_id */
    assert_outcome(open_again(s, &store), OUTCOME_CORRUPT);
    damage_header(s, 0, 0);
    assert_outcome(open_again(s, &store), OUTCOME_CORRUPT);
    struct store_local_options options = {.folder = "/dev/null/store",
                                          .limits = s->limits,
                                          .clock = &s->clock};
    assert_outcome(store_local_open(&options, &store, &store_why), OUTCOME_LOCAL);
}

/* ---- crashes ---- */

static const struct id crash_upload = {{1, 2, 3}}, crash_put = {{4, 5, 6}};
enum { MIB = 1 << 20, HELD = 70, SYNCED = 64 };

static void work_before_the_crash(struct subject *s)
{
    struct store_upload_begin b = {.upload = crash_upload, .name = "large"};
    struct store_upload_state st;
    struct store_put p = {.op = crash_put, .name = "small", .content = "text", .size = 4};
    uint8_t *bytes = malloc(MIB);
    uint64_t held;
    assert_ok(put_as(s, &alice, &p, NULL));
    put_bytes(s, "middling", 100000);
    assert_ok(begin(s, &alice, &b, &st));
    for (unsigned i = 0; i < HELD; i++) {
        fill(bytes, MIB, i);
        assert_ok(upload_write(s, &alice, &b.upload, (uint64_t)i * MIB, bytes, MIB, &held));
    }
}

/* As after a cut of the power: another run of the machine, and what was not synced is anything. */
static void the_machine_crashed(struct subject *s)
{
    char command[512];
    clock_test_boot(&s->clock, 2, CLOCK_SECOND);
    snprintf(command, sizeof command,
             "cd %s && "
             "dd if=/dev/zero of=$(echo incoming/*) bs=1M seek=%d count=%d conv=notrunc status=none",
             s->folder, SYNCED, HELD - SYNCED);
    assert_int_equal(system(command), 0);
}

/* What was answered OK is there; an upload goes on from so many bytes. */
static void go_on_after_the_crash(struct subject *s, unsigned mib)
{
    subject_open(s);
    char text[8];
    struct store_audit audit;
    assert_ok(content(s, "small", NULL, text, sizeof text));
    assert_string_equal(text, "text");
    assert_ok(stat_name(s, "middling", NULL));
    struct store_upload_begin b = {.upload = crash_upload, .name = "large"};
    struct store_upload_state st;
    assert_ok(begin(s, &alice, &b, &st));
    assert_int_equal(st.held, (uint64_t)mib * MIB);
    uint8_t *bytes = malloc((size_t)HELD * MIB);
    for (unsigned i = 0; i < HELD; i++)
        fill(bytes + (size_t)i * MIB, MIB, i);
    struct digest_value digest = digest_of(bytes, (size_t)mib * MIB);
    assert_memory_equal(&st.digest, &digest, sizeof digest);
    uint64_t held;
    assert_ok(
        upload_write(s, &alice, &b.upload, st.held, bytes + st.held, (size_t)(HELD - mib) * MIB, &held));
    struct store_publish p = {.upload = crash_upload,
                              .check = true,
                              .size = (uint64_t)HELD * MIB,
                              .check_digest = true};
    p.digest = digest_of(bytes, (size_t)HELD * MIB);
    struct store_entry entry;
    assert_ok(publish(s, &alice, &p, &entry));
    struct store_put again = {.op = crash_put, .name = "small", .content = "text", .size = 4};
    assert_ok(put_as(s, &alice, &again, &entry));
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.entries, 3);
    assert_true(store_audit_is_sound(&audit));
    assert_int_equal(count_files(s->folder, "incoming"), 0);
    free(bytes);
}

/* What the server wrote is there, synced or not. */
static void crash_of_the_server(void **state)
{
    struct subject *s = *state;
    clock_test_boot(&s->clock, 1, clock_elapsed(&s->clock));
    close_it(s);
    in_a_crash(s, work_before_the_crash);
    go_on_after_the_crash(s, HELD);
}

static void crash_of_the_machine(void **state)
{
    struct subject *s = *state;
    clock_test_boot(&s->clock, 1, clock_elapsed(&s->clock));
    close_it(s);
    in_a_crash(s, work_before_the_crash);
    the_machine_crashed(s);
    go_on_after_the_crash(s, SYNCED);
}

static int acknowledged;

/* Puts without end, and says which were answered. */
static void puts_without_end(struct subject *s)
{
    for (uint32_t i = 0;; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%u", i);
        if (i % 3 == 0)
            put_bytes(s, name, 20000);
        else
            assert_ok(put(s, &alice, name, name, NULL));
        if (write(acknowledged, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

/* Killed at any moment: every put that was answered is there and whole. */
static void killed_while_it_puts(void **state)
{
    struct subject *s = *state;
    close_it(s);
    for (unsigned round = 0; round < 4; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        acknowledged = ends[1];
        pid_t child = fork();
        if (child == 0) {
            s->folder[strlen(s->folder) - 1] = (char)('0' + round);
            subject_open(s);
            puts_without_end(s);
        }
        close(ends[1]);
        uint32_t last = 0, one;
        for (unsigned n = 0; n < 20 + round * 31; n++) {
            assert_int_equal(read(ends[0], &one, sizeof one), sizeof one);
            last = one;
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(ends[0], &one, sizeof one) == sizeof one)
            last = one;
        close(ends[0]);
        char kept = s->folder[strlen(s->folder) - 1];
        s->folder[strlen(s->folder) - 1] = (char)('0' + round);
        subject_open(s);
        for (uint32_t i = 0; i <= last; i++) {
            char name[32];
            snprintf(name, sizeof name, "f%u", i);
            assert_ok(stat_name(s, name, NULL));
        }
        struct store_audit audit;
        sweep(s, NULL, NULL);
        assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
        assert_true(store_audit_is_sound(&audit));
        close_it(s);
        subject_remove_folder(s->folder);
        s->folder[strlen(s->folder) - 1] = kept;
    }
}

/* ---- strays and damage ---- */

static void touch(const char *folder, const char *below, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/%s", folder, below, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void strays_are_swept(void **state)
{
    struct subject *s = *state;
    struct store_audit audit;
    struct store_sweep gone;
    put_bytes(s, "f", 50000);
    touch(s->folder, "incoming", "00112233445566778899aabbccddeeff");
    touch(s->folder, "blobs/00", "00112233445566778899aabbccddeeff");
    touch(s->folder, "blobs/ff", "ff112233445566778899aabbccddeeff");
    subject_restart(s);
    assert_int_equal(count_files(s->folder, "incoming"), 0);
    assert_ok(s->acts->audit(s->store, false, &audit, &store_why));
    assert_int_equal(audit.orphan_blobs, 2);
    sweep(s, &gone, NULL);
    assert_int_equal(gone.blobs, 2);
    assert_int_equal(count_files(s->folder, "blobs/00"), 0);
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_true(store_audit_is_sound(&audit));
    /* each day again */
    touch(s->folder, "blobs/00", "00112233445566778899aabbccddeeff");
    sweep(s, &gone, NULL);
    assert_int_equal(gone.blobs, 0);
    step(s, 86401);
    sweep(s, &gone, NULL);
    assert_int_equal(gone.blobs, 1);
}

static void damage_is_told(void **state)
{
    struct subject *s = *state;
    struct store_audit audit;
    char path[512], text[60000];
    put_bytes(s, "f", 50000);
    only_blob(s->folder, path);
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, 777), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 777), 1);
    assert_ok(s->acts->audit(s->store, false, &audit, &store_why));
    assert_int_equal(audit.wrong_digests, 0);
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.wrong_digests, 1);
    assert_int_equal(ftruncate(fd, 40000), 0);
    close(fd);
    assert_ok(s->acts->audit(s->store, false, &audit, &store_why));
    assert_int_equal(audit.wrong_sizes, 1);
    assert_outcome(content(s, "f", NULL, text, sizeof text), OUTCOME_CORRUPT);
    subject_restart(s);
    assert_int_equal(unlink(path), 0);
    assert_ok(s->acts->audit(s->store, false, &audit, &store_why));
    assert_int_equal(audit.missing_blobs, 1);
    assert_outcome(content(s, "f", NULL, text, sizeof text), OUTCOME_CORRUPT);
}

/* However many uploads there are, the open files stay few. */
static void few_open_files(void **state)
{
    struct subject *s = *state;
    enum { MANY = 250 };
    struct id ids[MANY];
    struct store_upload_state st;
    uint64_t held;
    size_t before = count_files("/proc/self", "fd");
    for (int i = 0; i < MANY; i++) {
        struct store_upload_begin b = {.upload = ids[i] = id_random(), .name = "f"};
        assert_ok(begin(s, &alice, &b, &st));
        assert_ok(upload_write(s, &alice, &ids[i], 0, &i, sizeof i, &held));
    }
    assert_true(count_files("/proc/self", "fd") < before + 120);
    for (int i = 0; i < MANY; i++)
        assert_ok(upload_write(s, &alice, &ids[i], held, "more", 4, &(uint64_t){0}));
    assert_true(count_files("/proc/self", "fd") < before + 120);
    struct store_publish p = {.upload = ids[7], .check = true, .size = held + 4, .check_digest = true};
    char whole[8];
    memcpy(whole, &(int){7}, 4);
    memcpy(whole + 4, "more", 4);
    p.digest = digest_of(whole, 8);
    struct store_entry entry;
    assert_ok(publish(s, &alice, &p, &entry));
}

#define LOCAL_TEST(test) cmocka_unit_test_setup_teardown(test, subject_setup, subject_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(one_server_per_store), LOCAL_TEST(folder_is_private),    LOCAL_TEST(what_cannot_be_opened),
        LOCAL_TEST(crash_of_the_server),  LOCAL_TEST(crash_of_the_machine), LOCAL_TEST(killed_while_it_puts),
        LOCAL_TEST(strays_are_swept),     LOCAL_TEST(damage_is_told),       LOCAL_TEST(few_open_files),
    };
    return cmocka_run_group_tests_name("store: local", tests, NULL, NULL);
}
