/* The durable mailbox: made once, held by one, its number never falls. */
#include "client/lib/mailbox.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[PLACE_SIZE];
static const struct id instance = {{1, 2, 3}};

static int make_folder(void **state)
{
    (void)state;
    return place_make(folder, place_on_disk(), "mailbox") ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct mailbox hold(void)
{
    struct mailbox mailbox;
    struct failure why = {0};
    if (mailbox_hold(folder, &instance, &mailbox, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return mailbox;
}

static void test_made_once(void **state)
{
    (void)state;
    struct id first, again, other, other_instance = {{9}};
    assert_int_equal(mailbox_name(folder, &instance, &first, NULL), OUTCOME_OK);
    assert_int_equal(mailbox_name(folder, &instance, &again, NULL), OUTCOME_OK);
    assert_int_equal(mailbox_name(folder, &other_instance, &other, NULL), OUTCOME_OK);
    assert_false(id_is_none(&first));
    assert_true(id_equal(&first, &again));
    assert_false(id_equal(&first, &other));

    struct mailbox mailbox = hold();
    struct stat status;
    assert_true(id_equal(&mailbox.id, &first));
    assert_int_equal(mailbox.shown, 0);
    assert_int_equal(fstat(mailbox.fd, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_nlink, 1);
    mailbox_let_go(&mailbox);
    mailbox_let_go(&mailbox);
}

static void test_number_is_kept(void **state)
{
    (void)state;
    for (uint64_t number = 1; number < 6; number++) {
        struct mailbox mailbox = hold();
        assert_int_equal(mailbox.shown, number - 1);
        assert_int_equal(mailbox_record(&mailbox, number, NULL), OUTCOME_OK);
        mailbox_let_go(&mailbox);
    }
    struct mailbox mailbox = hold();
    assert_int_equal(mailbox_record(&mailbox, 6, NULL), OUTCOME_OK);
    assert_int_equal(mailbox_record(&mailbox, UINT64_MAX - 1, NULL), OUTCOME_OK);
    assert_int_equal(mailbox_record(&mailbox, UINT64_MAX, NULL), OUTCOME_OK);
    mailbox_let_go(&mailbox);
    mailbox = hold();
    assert_true(mailbox.shown == UINT64_MAX);
    mailbox_let_go(&mailbox);
}

/* Whatever part of a slot was written when the power went, the other one counts. */
static void test_a_torn_record(void **state)
{
    (void)state;
    struct mailbox mailbox = hold();
    assert_int_equal(mailbox_record(&mailbox, 41, NULL), OUTCOME_OK);
    assert_int_equal(mailbox_record(&mailbox, 42, NULL), OUTCOME_OK);
    char path[sizeof mailbox.path];
    snprintf(path, sizeof path, "%s", mailbox.path);
    mailbox_let_go(&mailbox);

    char whole[256];
    int fd = open(path, O_RDWR);
    ssize_t size = read(fd, whole, sizeof whole);
    char *newest = memmem(whole, (size_t)size, "00000000000000000042", 20);
    assert_non_null(newest);
    for (size_t cut = 1; cut < 41; cut++) {
        char torn[256];
        memcpy(torn, whole, (size_t)size);
        memset(torn + (newest - whole) + cut, 'x', 41 - cut);
        assert_int_equal(pwrite(fd, torn, (size_t)size, 0), size);
        mailbox = hold();
        assert_int_equal(mailbox.shown, 41);
        mailbox_let_go(&mailbox);
    }
    mailbox = hold();
    assert_int_equal(mailbox_record(&mailbox, 43, NULL), OUTCOME_OK); /* goes over the torn one */
    mailbox_let_go(&mailbox);
    mailbox = hold();
    assert_int_equal(mailbox.shown, 43);
    mailbox_let_go(&mailbox);
    close(fd);
}

static void test_spoilt(void **state)
{
    (void)state;
    struct mailbox mailbox = hold();
    struct failure why = {0};
    struct id id;
    assert_int_equal(ftruncate(mailbox.fd, 60), 0);
    mailbox_let_go(&mailbox);
    assert_int_equal(mailbox_name(folder, &instance, &id, &why), OUTCOME_CORRUPT);
    assert_non_null(strstr(why.text, mailbox.path));
    assert_int_equal(mailbox_hold(folder, &instance, &mailbox, &why), OUTCOME_CORRUPT);
}

static void test_held_by_one(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        struct mailbox mailbox;
        char byte = mailbox_hold(folder, &instance, &mailbox, NULL) == OUTCOME_OK ? 'y' : 'n';
        if (write(pipes[1], &byte, 1) != 1)
            _exit(1);
        pause();
    }
    char byte = 0, pid[32];
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    struct mailbox mailbox;
    struct failure why = {0};
    struct id id;
    assert_int_equal(mailbox_hold(folder, &instance, &mailbox, &why), OUTCOME_HELD);
    snprintf(pid, sizeof pid, "process %d;", (int)child);
    assert_non_null(strstr(why.text, pid));
    assert_int_equal(mailbox_name(folder, &instance, &id, NULL), OUTCOME_OK); /* naming it is free */
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    mailbox = hold(); /* the dead hold nothing */
    mailbox_let_go(&mailbox);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_two_make_it_at_once(void **state)
{
    (void)state;
    enum { MAKERS = 8 };
    int pipes[2], gate[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < MAKERS; i++) {
        if (fork() == 0) {
            struct id id = {{0}};
            char byte;
            close(gate[1]);
            if (read(gate[0], &byte, 1) != 0) /* until the gate opens */
                _exit(1);
            if (mailbox_name(folder, &instance, &id, NULL) != OUTCOME_OK)
                memset(&id, 0, sizeof id);
            _exit(write(pipes[1], &id, sizeof id) == sizeof id ? 0 : 1);
        }
    }
    close(gate[0]);
    close(gate[1]);
    struct id ids[MAKERS];
    for (int i = 0; i < MAKERS; i++) {
        assert_int_equal(read(pipes[0], &ids[i], sizeof ids[i]), sizeof ids[i]);
        assert_false(id_is_none(&ids[i]));
        assert_true(id_equal(&ids[0], &ids[i]));
    }
    for (int i = 0; i < MAKERS; i++)
        wait(NULL);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_no_place(void **state)
{
    (void)state;
    struct id id;
    struct failure why = {0};
    assert_int_equal(mailbox_name(NULL, &instance, &id, &why), OUTCOME_LOCAL);
    assert_int_equal(mailbox_name("/proc/no/such", &instance, &id, &why), OUTCOME_LOCAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_made_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_number_is_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_torn_record, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_spoilt, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_held_by_one, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_two_make_it_at_once, make_folder, remove_folder),
        cmocka_unit_test(test_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
