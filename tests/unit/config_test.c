/* config: every key by default, by file, by command line; what is refused; the dump read back. */
#include "place.h"
#include "server/command_line.h"
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[PLACE_SIZE];

static int make_folder(void **state)
{
    (void)state;
    return place_make(folder, place_on_disk(), "config") ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[PLACE_SIZE + 8];

    (void)state;
    snprintf(path, sizeof path, "%s/conf", folder);
    unlink(path);
    return rmdir(folder);
}

static const char *write_file(const char *text)
{
    static char path[PLACE_SIZE + 8];

    snprintf(path, sizeof path, "%s/conf", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static enum outcome read_line(struct command_line *out, struct failure *why, const char *first,
                              const char *second, const char *third)
{
    char *argv[] = {(char[]){"fileshared"}, (char *)(uintptr_t)first, (char *)(uintptr_t)second,
                    (char *)(uintptr_t)third, NULL};
    int argc = 1 + !!first + !!second + !!third;

    *out = (struct command_line){0};
    return command_line_read(argc, argv, out, why);
}

static char *dump_text(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    assert_non_null(to);
    config_dump(config, to);
    fclose(to);
    return text;
}

static void defaults_are_within_their_bounds(void **state)
{
    struct config *config = NULL;
    struct failure why = {0};

    (void)state;
    assert_int_equal(config_new(&config, &why), OUTCOME_OK);
    assert_int_equal(config->port, 18003);
    assert_int_equal(config->program, 0x20465348);
    assert_true(config->rpcbind);
    assert_false(config->insecure);
    assert_int_equal(config->store_limits.reserve_bytes, 64 << 20);
    assert_int_equal(config->engine.record_max, 1114112);
    assert_int_equal(config_finish(config, &why), OUTCOME_OK);
    assert_int_equal(config->engine.permits, config->engine.workers - 2);
    assert_int_equal(config->engine.idle_ms, 300000);
    config_free(config);
}

/* What runs without a configuration (tests, callback programs) has the same bounds. */
static void defaults_are_those_of_the_parts(void **state)
{
    const struct rpc_limits engine = rpc_limits_default();
    const struct store_limits store = store_limits_default();
    const struct sender_limits sender = sender_limits_default();
    struct config *config = NULL;
    struct failure why = {0};

    (void)state;
    assert_int_equal(config_new(&config, &why), OUTCOME_OK);
    assert_int_equal(config_finish(config, &why), OUTCOME_OK);
#define SAME(configured, own) assert_int_equal(config->configured, own)
    SAME(engine.workers, engine.workers);
    SAME(engine.permits, engine.permits);
    SAME(engine.connections, engine.connections);
    SAME(engine.connections_per_address, engine.connections_per_address);
    SAME(engine.record_max, engine.record_max);
    SAME(engine.record_anonymous_max, engine.record_anonymous_max);
    SAME(engine.in_flight_bytes, engine.in_flight_bytes);
    SAME(engine.in_flight_reserve_bytes, engine.in_flight_reserve_bytes);
    SAME(engine.turn_records, engine.turn_records);
    SAME(engine.turn_bytes, engine.turn_bytes);
    SAME(engine.unsent_records, engine.unsent_records);
    SAME(engine.unsent_bytes, engine.unsent_bytes);
    SAME(engine.waiting_records, engine.waiting_records);
    SAME(engine.idle_ms, engine.idle_ms);
    SAME(engine.progress_bytes, engine.progress_bytes);
    SAME(engine.progress_ms, engine.progress_ms);
    SAME(engine.probe_ms, engine.probe_ms);
    SAME(store_limits.uploads, store.uploads);
    SAME(store_limits.uploads_per_principal, store.uploads_per_principal);
    SAME(store_limits.upload_idle_seconds, store.upload_idle_seconds);
    SAME(store_limits.interests, store.interests);
    SAME(store_limits.interests_per_mailbox, store.interests_per_mailbox);
    SAME(store_limits.open_globs, store.open_globs);
    SAME(store_limits.open_globs_per_mailbox, store.open_globs_per_mailbox);
    SAME(store_limits.mailboxes, store.mailboxes);
    SAME(store_limits.mailboxes_per_principal, store.mailboxes_per_principal);
    SAME(store_limits.events_per_mailbox, store.events_per_mailbox);
    SAME(store_limits.event_seconds, store.event_seconds);
    SAME(store_limits.answers_per_principal, store.answers_per_principal);
    SAME(store_limits.kept_seconds, store.kept_seconds);
    SAME(store_limits.kept_bytes, store.kept_bytes);
    SAME(store_limits.reserve_bytes, store.reserve_bytes);
    SAME(store_limits.open_reads, store.open_reads);
    SAME(sender.mailboxes, sender.mailboxes);
    SAME(sender.deliveries, sender.deliveries);
    SAME(sender.delivery_bytes, sender.delivery_bytes);
    SAME(sender.connections, sender.connections);
    SAME(sender.connect_ms, sender.connect_ms);
    SAME(sender.call_ms, sender.call_ms);
    SAME(sender.prove_wait_ms, sender.prove_wait_ms);
    SAME(sender.outgoing_port, sender.outgoing_port);
    config_free(config);
}

static void a_dump_read_back_is_the_same_dump(void **state)
{
    struct command_line line;
    struct config *again = NULL;
    struct failure why = {0};

    (void)state;
    assert_int_equal(read_line(&line, &why, "--port=7", "--allow=10.0.0.0/8", "--listen=0.0.0.0"),
                     OUTCOME_OK);
    char *first = dump_text(line.config);
    assert_int_equal(config_new(&again, &why), OUTCOME_OK);
    assert_int_equal(config_read(again, write_file(first), &why), OUTCOME_OK);
    assert_int_equal(config_finish(again, &why), OUTCOME_OK);
    char *second = dump_text(again);
    assert_string_equal(first, second);
    assert_non_null(strstr(first, "port = 7\n"));
    assert_non_null(strstr(first, "allow = 10.0.0.0/8\n"));
    free(first);
    free(second);
    config_free(again);
    config_free(line.config);
}

static void the_command_line_beats_the_file(void **state)
{
    struct command_line line;
    struct failure why = {0};
    char option[96];

    (void)state;
    snprintf(
        option, sizeof option, "--config=%s",
        write_file("[server]\nport = 5\nlisten = 127.0.0.1\nlisten = ::1\n[store]\n# roomy\nreserve = 2M\n"));
    assert_int_equal(read_line(&line, &why, option, NULL, NULL), OUTCOME_OK);
    assert_int_equal(line.config->port, 5);
    assert_int_equal(line.config->address_count, 2);
    assert_int_equal(line.config->store_limits.reserve_bytes, 2 << 20);
    config_free(line.config);
    assert_int_equal(read_line(&line, &why, option, "--port=6", "--listen=127.0.0.2:9"), OUTCOME_OK);
    assert_int_equal(line.config->port, 6);
    assert_int_equal(line.config->address_count, 1);
    assert_int_equal(address_port(&line.config->addresses[0]), 9);
    assert_int_equal(line.config->store_limits.reserve_bytes, 2 << 20);
    config_free(line.config);
}

static void a_bad_file_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"[server]\nport = 70000\n", ":2: port: 70000 is not between"},
        {"[server]\n\nportt = 7\n", ":3: there is no key \"portt\""},
        {"[store]\nport = 7\n", ":2: there is no key \"port\" in a section [store]"},
        {"[server]\nrpcbind = maybe\n", ":2: rpcbind: \"maybe\" is neither yes nor no"},
        {"[store]\nreserve = 5X\n", ":2: reserve: "},
        {"[server\n", ":1: neither"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config *config = NULL;
        struct failure why = {0};
        assert_int_equal(config_new(&config, &why), OUTCOME_OK);
        assert_int_equal(config_read(config, write_file(rows[i].text), &why), OUTCOME_INVALID);
        if (!strstr(why.text, rows[i].reason))
            fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].reason);
        config_free(config);
    }
}

static void a_file_that_is_named_must_be_there(void **state)
{
    struct command_line line;
    struct failure why = {0};

    (void)state;
    assert_int_equal(read_line(&line, &why, "--config=/nowhere/at/all", NULL, NULL), OUTCOME_ABSENT);
    assert_non_null(strstr(why.text, "/nowhere/at/all"));
}

static void what_may_not_be_is_refused(void **state)
{
    static const struct {
        const char *first, *second, *reason;
    } rows[] = {
        {"--listen=0.0.0.0", NULL, "--allow CIDR, or say --insecure"},
        {"--listen=[::]:5", NULL, "--allow CIDR, or say --insecure"},
        {"--listen=localhost", NULL, "is no IP address"},
        {"--listen=127.0.0.1:x", NULL, "has no port"},
        {"--listen=127.0.0.1:65536", NULL, "has no port"},
        {"--allow=10.0.0.0/33", NULL, "allow: "},
        {"--log=loud", NULL, "is none of error"},
        {"--log-to=paper", NULL, "is none of stderr"},
        {"--workers=8", "--permits=7", "at most 6"},
        {"--workers=2", NULL, "3 at least"},
        {"--retry-first=10", "--retry-last=9", "retry-last is shorter"},
        {"--port=-1", NULL, "is no number"},
        {"serve", NULL, "nothing to do with \"serve\": options, or \"fsck\" or \"backup\" before all else"},
        {"--unheard-of", NULL, "unheard-of"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct command_line line;
        struct failure why = {0};
        if (read_line(&line, &why, rows[i].first, rows[i].second, NULL) != OUTCOME_INVALID)
            fail_msg("%s was taken", rows[i].first);
        if (!strstr(why.text, rows[i].reason))
            fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].reason);
    }
}

static void other_addresses_come_with_a_word_for_it(void **state)
{
    struct command_line line;
    struct failure why = {0};

    (void)state;
    assert_int_equal(read_line(&line, &why, "--listen=0.0.0.0", "--insecure", NULL), OUTCOME_OK);
    config_free(line.config);
    assert_int_equal(read_line(&line, &why, "--listen=[::]:5", "--allow=fe80::/10", "--no-rpcbind"),
                     OUTCOME_OK);
    assert_int_equal(address_port(&line.config->addresses[0]), 5);
    assert_false(line.config->rpcbind);
    config_free(line.config);
}

static void a_user_without_a_runtime_folder_has_no_socket(void **state)
{
    struct config *config = NULL;
    struct failure why = {0};

    (void)state;
    if (geteuid() == 0)
        skip();
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(config_new(&config, &why), OUTCOME_OK);
    assert_int_equal(config_finish(config, &why), OUTCOME_OK);
    assert_false(config->has_socket);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_within_their_bounds),
        cmocka_unit_test(defaults_are_those_of_the_parts),
        cmocka_unit_test(a_dump_read_back_is_the_same_dump),
        cmocka_unit_test(the_command_line_beats_the_file),
        cmocka_unit_test(a_bad_file_is_refused_with_its_line),
        cmocka_unit_test(a_file_that_is_named_must_be_there),
        cmocka_unit_test(what_may_not_be_is_refused),
        cmocka_unit_test(other_addresses_come_with_a_word_for_it),
        cmocka_unit_test(a_user_without_a_runtime_folder_has_no_socket),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
