/* What is said of a call: the bytes are those of libtirpc's own functions. src/rpc/answers.c. */
#include <rpc/rpc.h>
#include <rpc/svc_mt.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 512, WORD = 0x01020304 };

/* libtirpc's of the same names: not those that this program was linked with. */
struct answers {
    bool_t (*sendreply)(SVCXPRT *, xdrproc_t, void *);
    void (*decode)(SVCXPRT *);
    void (*noproc)(SVCXPRT *);
    void (*noprog)(SVCXPRT *);
    void (*systemerr)(SVCXPRT *);
    void (*progvers)(SVCXPRT *, rpcvers_t, rpcvers_t);
    void (*auth)(SVCXPRT *, enum auth_stat);
};

static const struct answers ours = {svc_sendreply,    svcerr_decode,   svcerr_noproc, svcerr_noprog,
                                    svcerr_systemerr, svcerr_progvers, svcerr_auth};

static int load(void **state)
{
    static struct answers theirs;
    void *library = dlopen("libtirpc.so.3", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    const struct {
        const char *name;
        void *at;
    } rows[] = {
        {"svc_sendreply", &theirs.sendreply},    {"svcerr_decode", &theirs.decode},
        {"svcerr_noproc", &theirs.noproc},       {"svcerr_noprog", &theirs.noprog},
        {"svcerr_systemerr", &theirs.systemerr}, {"svcerr_progvers", &theirs.progvers},
        {"svcerr_auth", &theirs.auth},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        void *found = dlsym(library, rows[i].name);
        assert_non_null(found);
        memcpy(rows[i].at, &found, sizeof found);
    }
    *state = &theirs;
    return 0;
}

/* ---- a transport that keeps what is said ---- */

struct said {
    unsigned times, size;
    char bytes[ROOM];
};

static bool_t keep(SVCXPRT *transport, struct rpc_msg *message)
{
    struct said *said = transport->xp_p1;
    XDR xdrs;
    message->rm_xid = WORD;
    said->times++;
    xdrmem_create(&xdrs, said->bytes, ROOM, XDR_ENCODE);
    bool_t fine = xdr_replymsg(&xdrs, message);
    said->size = xdr_getpos(&xdrs);
    return fine;
}

static struct said hear(const struct answers *answers, void (*say)(const struct answers *, SVCXPRT *))
{
    struct said said = {.times = 0};
    char verifier[] = "proof";
    const struct xp_ops operations = {.xp_reply = keep};
    SVCXPRT_EXT extension = {.flags = 0};
    SVCXPRT transport = {
        .xp_ops = &operations,
        .xp_verf = {.oa_flavor = AUTH_SHORT, .oa_base = verifier, .oa_length = sizeof verifier},
        .xp_p1 = &said,
        .xp_p3 = &extension,
    };
    say(answers, &transport);
    return said;
}

static void compare(void **state, void (*say)(const struct answers *, SVCXPRT *))
{
    struct said a = hear(&ours, say), b = hear(*state, say);
    assert_int_equal(a.times, 1);
    assert_int_equal(a.times, b.times);
    assert_true(a.size >= 12);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
}

/* ---- what is said ---- */

static void say_word(const struct answers *answers, SVCXPRT *transport)
{
    u_int word = WORD;
    assert_true(answers->sendreply(transport, (xdrproc_t)xdr_u_int, &word));
}

static bool_t refuse(XDR *xdrs, ...)
{
    (void)xdrs;
    return FALSE;
}

static void say_what_cannot_be_said(const struct answers *answers, SVCXPRT *transport)
{
    assert_false(answers->sendreply(transport, refuse, NULL));
}

static void say_decode(const struct answers *answers, SVCXPRT *transport)
{
    answers->decode(transport);
}

static void say_noproc(const struct answers *answers, SVCXPRT *transport)
{
    answers->noproc(transport);
}

static void say_noprog(const struct answers *answers, SVCXPRT *transport)
{
    answers->noprog(transport);
}

static void say_systemerr(const struct answers *answers, SVCXPRT *transport)
{
    answers->systemerr(transport);
}

static void say_progvers(const struct answers *answers, SVCXPRT *transport)
{
    answers->progvers(transport, 3, 7);
}

static void say_auth(const struct answers *answers, SVCXPRT *transport)
{
    answers->auth(transport, AUTH_TOOWEAK);
}

static void test_results(void **state)
{
    compare(state, say_word);
    compare(state, say_what_cannot_be_said);
}

static void test_refusals(void **state)
{
    compare(state, say_decode);
    compare(state, say_noproc);
    compare(state, say_noprog);
    compare(state, say_systemerr);
    compare(state, say_progvers);
    compare(state, say_auth);
}

static void test_they_are_two(void **state)
{
    const struct answers *theirs = *state;
    assert_ptr_not_equal(ours.sendreply, theirs->sendreply);
    assert_ptr_not_equal(ours.auth, theirs->auth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_are_two),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
