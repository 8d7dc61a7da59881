#include "base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <string.h>

#include <cmocka.h>

static struct address ip(const char *host, uint16_t port)
{
    struct address address;
    struct failure why = { .text = "" };
    if (address_ip(host, port, &address, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return address;
}

static struct address local(const char *path)
{
    struct address address;
    assert_int_equal(address_local(path, &address, NULL), OUTCOME_OK);
    return address;
}

static void says(const struct address *address, const char *whole, const char *host, const char *universal,
                 const char *netid)
{
    char text[ADDRESS_TEXT_SIZE];
    assert_ptr_equal(address_text(address, text), text);
    assert_string_equal(text, whole);
    assert_string_equal(address_host_text(address, text), host);
    assert_string_equal(address_universal(address, text), universal);
    assert_string_equal(address_netid(address), netid);
}

static void test_forms(void **state)
{
    (void)state;
    struct address address = ip("127.0.0.1", 40971);
    says(&address, "127.0.0.1:40971", "127.0.0.1", "127.0.0.1.160.11", "tcp");
    assert_int_equal(address.size, sizeof(struct sockaddr_in));
    assert_int_equal(address_port(&address), 40971);
    address = ip("::1", 80);
    says(&address, "[::1]:80", "::1", "::1.0.80", "tcp6");
    assert_int_equal(address.size, sizeof(struct sockaddr_in6));
    address = ip("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535);
    says(&address, "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
         "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff.255.255", "tcp6");
    address = local("/run/x");
    says(&address, "/run/x", "local", "/run/x", "local");
    assert_int_equal(address_port(&address), 0);
    address_set_port(&address, 5);
    says(&address, "/run/x", "local", "/run/x", "local");
    address = ip("::1", 80);
    address_set_port(&address, 81);
    assert_int_equal(address_port(&address), 81);
    struct address nothing = { .size = 0 };
    says(&nothing, "unknown", "unknown", "unknown.0.0", "tcp");
}

static void test_mapped_addresses_are_ipv4(void **state)
{
    (void)state;
    struct address address = ip("::ffff:10.1.2.3", 7);
    says(&address, "10.1.2.3:7", "10.1.2.3", "10.1.2.3.0.7", "tcp");
    assert_int_equal(address.any.sa_family, AF_INET);

    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
    assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.9", &in6.sin6_addr), 1);
    address = address_of((struct sockaddr *)&in6, sizeof in6);
    says(&address, "127.0.0.9:9", "127.0.0.9", "127.0.0.9.0.9", "tcp");
    assert_true(address_is_loopback(&address));

    assert_int_equal(address_from_universal("tcp6", "::ffff:1.2.3.4.0.80", &address, NULL), OUTCOME_OK);
    says(&address, "1.2.3.4:80", "1.2.3.4", "1.2.3.4.0.80", "tcp");
}

static void test_scopes(void **state)
{
    (void)state;
    struct address address = ip("fe80::1%lo", 7), other = ip("fe80::1%77777", 7), none = ip("fe80::1", 7);
    says(&address, "[fe80::1%lo]:7", "fe80::1%lo", "fe80::1%lo.0.7", "tcp6");
    says(&other, "[fe80::1%77777]:7", "fe80::1%77777", "fe80::1%77777.0.7", "tcp6");
    assert_false(address_same_host(&address, &other));
    assert_false(address_same_host(&address, &none));
    struct address again;
    assert_int_equal(address_from_universal("tcp6", "fe80::1%lo.0.8", &again, NULL), OUTCOME_OK);
    assert_true(address_same_host(&address, &again));
}

static void test_what_is_no_ip(void **state)
{
    (void)state;
    static const char *const texts[] = { "",        "127.1",      "1.2.3.4.5", "256.1.1.1",    "01.2.3.4", "localhost", "[::1]",
                                         "::1%",    "::1%nosuch", "::1%0",     "::1%4294967296", "1::2::3",  " 1.2.3.4",  "1.2.3.4 ",
                                         "1.2.3.4%lo", "::12345", "0x7f.0.0.1",
                                         "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff%aninterfacewithmuchtoolonganame" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address = { .size = 99 };
        struct failure why = { .text = "" };
        if (address_ip(texts[i], 1, &address, &why) != OUTCOME_INVALID)
            fail_msg("\"%s\" passes", texts[i]);
        assert_int_equal(address.size, 99);
        assert_non_null(strstr(why.text, "is not an IPv4 or IPv6 address"));
    }
}

static void test_paths_at_the_limit(void **state)
{
    (void)state;
    char path[110], text[ADDRESS_TEXT_SIZE];
    struct address address;
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[107] = '\0';
    address = local(path);
    assert_string_equal(address_text(&address, text), path);
    path[107] = 'p';
    path[108] = '\0';
    struct failure why;
    assert_int_equal(address_local(path, &address, &why), OUTCOME_INVALID);
    assert_non_null(strstr(why.text, "108 bytes, at most 107"));
    assert_int_equal(address_local("", &address, &why), OUTCOME_INVALID);
    assert_int_equal(address_from_universal("local", path, &address, &why), OUTCOME_INVALID);
    assert_int_equal(why.outcome, OUTCOME_INVALID);
    assert_int_equal(address_from_universal("local", "/run/x", &address, NULL), OUTCOME_OK);
    assert_true(address_is_local(&address));
}

/* As accept() and getsockname() tell them, with a path that fills sun_path to the last byte among them. */
static void test_unix_sockets_of_the_kernel(void **state)
{
    (void)state;
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t head = offsetof(struct sockaddr_un, sun_path);
    struct address address = address_of((struct sockaddr *)&un, (socklen_t)head);
    says(&address, "local", "local", "local", "local");
    memcpy(un.sun_path, "\0ab\n", 4);
    address = address_of((struct sockaddr *)&un, (socklen_t)head + 4);
    says(&address, "@ab\\x0a", "local", "@ab\\x0a", "local");
    memset(un.sun_path, 'q', sizeof un.sun_path);
    address = address_of((struct sockaddr *)&un, sizeof un);
    char text[ADDRESS_TEXT_SIZE];
    assert_int_equal(strlen(address_text(&address, text)), sizeof un.sun_path);
    un.sun_path[0] = '\0';
    memset(un.sun_path + 1, '\n', sizeof un.sun_path - 1);
    address = address_of((struct sockaddr *)&un, sizeof un);
    assert_true(strlen(address_text(&address, text)) < ADDRESS_TEXT_SIZE);
    assert_non_null(strstr(text, "..."));
    address = address_of((struct sockaddr *)&un, 0);
    assert_int_equal(address.size, 0);
}

static void test_who_is_where(void **state)
{
    (void)state;
    struct address v4 = ip("127.255.0.1", 1), v6 = ip("::1", 1), far = ip("128.0.0.1", 1), far6 = ip("::2", 1);
    struct address unix_one = local("/a"), unix_two = local("/b");
    assert_true(address_is_loopback(&v4));
    assert_true(address_is_loopback(&v6));
    assert_false(address_is_loopback(&far));
    assert_false(address_is_loopback(&far6));
    assert_false(address_is_loopback(&unix_one));
    assert_true(address_is_local(&unix_one));
    assert_false(address_is_local(&v4));

    struct address other_port = v4;
    address_set_port(&other_port, 2);
    assert_true(address_same_host(&v4, &other_port));
    assert_false(address_same_host(&v4, &v6));
    assert_false(address_same_host(&v4, &far));
    assert_false(address_same_host(&v6, &far6));
    assert_true(address_same_host(&unix_one, &unix_two));
    assert_false(address_same_host(&unix_one, &v4));
}

static void test_universal_addresses_go_round(void **state)
{
    (void)state;
    static const char *const texts[][2] = { { "tcp", "0.0.0.0.0.0" },   { "tcp", "255.255.255.255.255.255" },
                                            { "tcp", "10.0.0.7.70.83" }, { "tcp6", "::.0.111" },
                                            { "tcp6", "2001:db8::1.4.0" }, { "tcp6", "::1.160.11" } };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address;
        char text[ADDRESS_TEXT_SIZE];
        assert_int_equal(address_from_universal(texts[i][0], texts[i][1], &address, NULL), OUTCOME_OK);
        assert_string_equal(address_universal(&address, text), texts[i][1]);
        assert_string_equal(address_netid(&address), texts[i][0]);
    }
}

static void test_what_is_no_universal_address(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "udp", "127.0.0.1.0.80" }, { "", "127.0.0.1.0.80" },  { "tcp", "" },
        { "tcp", "." },              { "tcp", ".." },           { "tcp", "127.0.0.1" },
        { "tcp", "127.0.0.1.80" },   { "tcp", "127.0.0.1.0.256" }, { "tcp", "127.0.0.1.256.0" },
        { "tcp", "127.0.0.1.0.-1" }, { "tcp", "127.0.0.1.0." },  { "tcp", "127.0.0.1..80" },
        { "tcp", "127.0.0.1.0.80 " }, { "tcp", "127.0.0.1.0.080" }, { "tcp", "127.0.0.1.0.0x5" },
        { "tcp", "::1.0.80" },       { "tcp", "::ffff:1.2.3.4.0.80" }, { "tcp6", "127.0.0.1.0.80" },
        { "tcp6", "::1" },           { "tcp6", "::1.80" },      { "tcp6", "[::1].0.80" },
        { "tcp6", "::g.0.80" },      { "local", "" },           { "tcp", "localhost.0.80" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address = { .size = 99 };
        struct failure why = { .text = "" };
        if (address_from_universal(texts[i][0], texts[i][1], &address, &why) != OUTCOME_INVALID)
            fail_msg("%s \"%s\" passes", texts[i][0], texts[i][1]);
        assert_int_equal(address.size, 99);
        assert_true(strlen(why.text) > 0);
    }
    char longest[1000];
    memset(longest, '1', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    struct address address;
    assert_int_equal(address_from_universal("tcp", longest, &address, NULL), OUTCOME_INVALID);
}

static void holds(const char *block_text, const char *host, bool expected)
{
    struct address_block block;
    struct failure why = { .text = "" };
    if (address_block_parse(block_text, &block, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    struct address address = ip(host, 1234);
    if (address_block_holds(&block, &address) != expected)
        fail_msg("%s and %s", block_text, host);
    struct address unix_one = local("/a");
    assert_false(address_block_holds(&block, &unix_one));
}

static void test_blocks(void **state)
{
    (void)state;
    holds("10.0.0.0/8", "10.255.255.255", true);
    holds("10.0.0.0/8", "11.0.0.0", false);
    holds("10.0.0.0/8", "9.255.255.255", false);
    holds("192.168.4.0/22", "192.168.7.255", true);
    holds("192.168.4.0/22", "192.168.8.0", false);
    holds("10.1.2.3", "10.1.2.3", true);
    holds("10.1.2.3", "10.1.2.2", false);
    holds("10.1.2.3/32", "10.1.2.3", true);
    holds("10.1.2.2/31", "10.1.2.3", true);
    holds("10.1.2.2/31", "10.1.2.4", false);
    holds("0.0.0.0/0", "255.1.1.1", true);
    holds("0.0.0.0/0", "::1", false);
    holds("::/0", "::1", true);
    holds("::/0", "1.2.3.4", false);
    holds("fe80::/10", "febf::1%lo", true);
    holds("fe80::/10", "fec0::1", false);
    holds("2001:db8::/33", "2001:db8:7fff::1", true);
    holds("2001:db8::/33", "2001:db8:8000::1", false);
    holds("::1", "::1", true);
    holds("::1/128", "::2", false);
    holds("::ffff:10.0.0.0/104", "10.9.9.9", true);
    holds("::ffff:10.0.0.0/104", "11.9.9.9", false);
    holds("::ffff:10.0.0.1", "10.0.0.1", true);
    holds("10.0.0.0/8", "::ffff:10.3.3.3", true);
}

static void test_what_is_no_block(void **state)
{
    (void)state;
    static const char *const texts[] = { "",          "/8",          "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x",
                                         "10.0.0.0/08", "10.0.0.1/8", "10.0.0.0/8/8", "10/8",       "::/129",      "::1/127",
                                         "fe80::%lo/10", "host/8",    "::ffff:10.0.0.0/95", "10.0.0.0/255.0.0.0" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address_block block = { .bits = 999 };
        struct failure why = { .text = "" };
        if (address_block_parse(texts[i], &block, &why) != OUTCOME_INVALID)
            fail_msg("\"%s\" passes", texts[i]);
        assert_int_equal(block.bits, 999);
        assert_true(strlen(why.text) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_mapped_addresses_are_ipv4),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_what_is_no_ip),
        cmocka_unit_test(test_paths_at_the_limit),
        cmocka_unit_test(test_unix_sockets_of_the_kernel),
        cmocka_unit_test(test_who_is_where),
        cmocka_unit_test(test_universal_addresses_go_round),
        cmocka_unit_test(test_what_is_no_universal_address),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_what_is_no_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
