#include "rpc/rpcbind.h"

#include "base/clock.h"
#include "base/scoped.h"
#include "rpc/client.h"
#include "rpc/rpcbind_talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    ASK_MS = 2000,    /* one question to our own rpcbind, */
    LEAVE_MS = 1000,  /* and at the end */
    PROBE_MS = 1000,  /* a NULL call to whoever is registered */
    CLEANED_MAX = 64, /* dead entries that one start looks after, */
    CLEAN_MS = 2000,  /* and for so long: one that does not answer takes PROBE_MS */
    TRIES_MAX = 64,   /* numbers tried before the transient range counts as full */
    NETIDS_MAX = 2,   /* tcp, tcp6 */
    TRANSIENT_MIN = 0x40000000,
    TRANSIENT_MAX = 0x5fffffff
};

struct rpcbind_registration {
    uint32_t program, version;
    struct address addresses[NETIDS_MAX]; /* one a netid */
    unsigned count;
    unsigned first; /* to be looked after: the one that a slow rpcbind left undone */
};

static void talk_end_at(struct rpcbind_talk **talk)
{
    rpcbind_talk_end(*talk);
}

static void entries_free_at(rpcblist_ptr *entries)
{
    rpcbind_entries_free(entries);
}

/* ---- is anybody there? ---- */

enum life {
    LIFE_ANSWERS, /* the program is there */
    LIFE_SILENT,  /* somebody has the address, but did not answer in time: stopped, or hung */
    LIFE_DEAD,    /* nobody has it, or another program */
};

static enum life life_of_call(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK:
    case OUTCOME_DENIED:
    case OUTCOME_FAULT:
    case OUTCOME_ABSENT: return LIFE_ANSWERS;
    case OUTCOME_TIMEOUT:
    case OUTCOME_NOMEM:
    case OUTCOME_LOCAL: return LIFE_SILENT;
    default: return LIFE_DEAD;
    }
}

static bool_t nothing(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

static enum life probe(const struct address *address, uint32_t program, uint32_t version,
                       unsigned deadline_ms, int stop_fd)
{
    const struct rpc_client_options options = {
        .number = program,
        .version = version,
        .connect_ms = deadline_ms,
        .call_ms = deadline_ms,
        .anonymous = true,
        .stop_fd = stop_fd,
    };
    struct rpc_client *client = NULL;
    struct rpc_pending *pending = NULL;
    enum outcome outcome = rpc_client_connect(address, &options, &client, NULL);

    if (outcome != OUTCOME_OK) /* without memory or descriptors of our own nothing is known */
        return outcome == OUTCOME_UNREACHABLE || outcome == OUTCOME_TIMEOUT ? LIFE_DEAD : LIFE_SILENT;
    outcome = rpc_client_begin(client, NULLPROC, nothing, NULL, NULL, &pending, NULL);
    if (outcome == OUTCOME_OK)
        outcome = rpc_client_await(client, pending, nothing, NULL, NULL);
    rpc_pending_free(client, pending);
    rpc_client_close(client);
    return life_of_call(outcome);
}

bool rpcbind_is_alive(const struct address *address, uint32_t program, uint32_t version, unsigned deadline_ms)
{
    return probe(address, program, version, deadline_ms, 0) == LIFE_ANSWERS;
}

/* Whether the entry leads to nobody. One whose address cannot be read is left alone; so is all once we are to end. */
static bool is_dead(const struct rpcbind_talk *talk, const struct rpcb *entry, enum life *out)
{
    struct address address;

    *out = LIFE_SILENT;
    if (address_from_universal(entry->r_netid, entry->r_addr, &address, NULL) == OUTCOME_OK)
        *out = probe(&address, (uint32_t)entry->r_prog, (uint32_t)entry->r_vers, PROBE_MS,
                     rpcbind_talk_stop_fd(talk));
    if (rpcbind_talk_is_stopped(talk))
        *out = LIFE_SILENT;
    return *out == LIFE_DEAD;
}

/* ---- a registration ---- */

enum outcome rpcbind_registration_new(uint32_t program, uint32_t version, const struct address *addresses,
                                      unsigned count, struct rpcbind_registration **out, struct failure *why)
{
    struct rpcbind_registration *registration = calloc(1, sizeof(*registration));

    if (!registration)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an entry of rpcbind's");
    registration->program = program;
    registration->version = version;
    for (unsigned i = 0; i < count; i++) {
        bool taken = address_is_local(&addresses[i]);
        for (unsigned j = 0; j < registration->count; j++)
            taken |= registration->addresses[j].any.sa_family == addresses[i].any.sa_family;
        if (!taken && registration->count < NETIDS_MAX)
            registration->addresses[registration->count++] = addresses[i];
    }
    *out = registration;
    return OUTCOME_OK;
}

static const struct rpcb *find_entry(rpcblist_ptr entries, uint32_t program, uint32_t version,
                                     const char *netid)
{
    for (; entries; entries = entries->rpcb_next) {
        const struct rpcb *entry = &entries->rpcb_map;
        if (entry->r_prog == program && entry->r_vers == version && strcmp(entry->r_netid, netid) == 0)
            return entry;
    }
    return NULL;
}

/* rpcbind has an entry of its own for each netid that it takes. */
static bool takes_netid(rpcblist_ptr entries, const char *netid)
{
    return find_entry(entries, RPCBPROG, RPCBVERS, netid);
}

/* Somebody's entry stands where ours should: away with it, if nobody is there. */
static enum outcome take_over(struct rpcbind_talk *talk, const struct rpcb *entry, struct failure *why)
{
    char shown[ADDRESS_TEXT_SIZE] = "";
    struct address address;
    enum life life;
    bool unset = false;

    if (address_from_universal(entry->r_netid, entry->r_addr, &address, NULL) == OUTCOME_OK)
        address_text(&address, shown);
    const char *where = shown[0] ? shown : entry->r_addr;
    if (!is_dead(talk, entry, &life))
        return failure_set(
            why, OUTCOME_HELD,
            "rpcbind has program 0x%x version %u at %s %s, registered by %s, where somebody %s",
            (unsigned)entry->r_prog, (unsigned)entry->r_vers, entry->r_netid, where, entry->r_owner,
            life == LIFE_ANSWERS ? "answers" : "has the port and does not answer");
    enum outcome outcome = rpcbind_talk_unset(talk, (uint32_t)entry->r_prog, (uint32_t)entry->r_vers,
                                              entry->r_netid, &unset, why);
    if (outcome != OUTCOME_OK || unset)
        return outcome;
    return failure_set(
        why, OUTCOME_DENIED,
        "rpcbind keeps a dead entry of program 0x%x version %u at %s %s, which belongs to %s: only they "
        "or root can remove it (rpcinfo -d %u %u)",
        (unsigned)entry->r_prog, (unsigned)entry->r_vers, entry->r_netid, where, entry->r_owner,
        (unsigned)entry->r_prog, (unsigned)entry->r_vers);
}

/* rpcbind did not set it, and never says why: looks who is in the way. */
static enum outcome make_room(struct rpcbind_talk *talk, const struct rpcbind_registration *registration,
                              const struct address *address, bool *settled, struct failure *why)
{
    scoped(entries_free_at) rpcblist_ptr entries = NULL;
    char universal[ADDRESS_TEXT_SIZE];
    const char *netid = address_netid(address);
    enum outcome outcome = rpcbind_talk_dump(talk, &entries, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    const struct rpcb *entry = find_entry(entries, registration->program, registration->version, netid);
    /* A machine without IPv6 has an rpcbind without tcp6; an entry of another uid's may say the same as ours. */
    *settled = entry ? strcmp(entry->r_addr, address_universal(address, universal)) == 0
                     : !takes_netid(entries, netid);
    if (*settled || !entry)
        return OUTCOME_OK;
    return take_over(talk, entry, why);
}

static enum outcome register_one(struct rpcbind_talk *talk, const struct rpcbind_registration *registration,
                                 const struct address *address, struct failure *why)
{
    bool set = false, settled = false;
    enum outcome outcome = rpcbind_talk_set(talk, registration->program, registration->version, address, &set,
                                            why);

    if (outcome != OUTCOME_OK || set)
        return outcome;
    outcome = make_room(talk, registration, address, &settled, why);
    if (outcome != OUTCOME_OK || settled)
        return outcome;
    outcome = rpcbind_talk_set(talk, registration->program, registration->version, address, &set, why);
    if (outcome != OUTCOME_OK || set)
        return outcome;
    return failure_set(why, OUTCOME_HELD,
                       "rpcbind does not take program 0x%x version %u: somebody else just registered it",
                       registration->program, registration->version);
}

/* What goes wrong in a conversation is rpcbind's absence: the answers of rpcbind_register mean something else. */
static enum outcome as_unavailable(enum outcome outcome, struct failure *why)
{
    if (outcome == OUTCOME_OK || outcome == OUTCOME_HELD || outcome == OUTCOME_DENIED ||
        outcome == OUTCOME_NOMEM)
        return outcome;
    if (why)
        why->outcome = OUTCOME_UNAVAILABLE;
    return OUTCOME_UNAVAILABLE;
}

enum outcome rpcbind_register(struct rpcbind_registration *registration, int stop_fd, struct failure *why)
{
    scoped(talk_end_at) struct rpcbind_talk *talk = NULL;
    enum outcome outcome = rpcbind_talk_here(ASK_MS, stop_fd, &talk, why);

    for (unsigned i = 0; i < registration->count && outcome == OUTCOME_OK; i++) {
        outcome = register_one(talk, registration, &registration->addresses[registration->first], why);
        if (outcome == OUTCOME_OK)
            registration->first = (registration->first + 1) % registration->count;
    }
    return as_unavailable(outcome, why);
}

static void unset_ours(struct rpcbind_talk *talk, const struct rpcbind_registration *registration)
{
    scoped(entries_free_at) rpcblist_ptr entries = NULL;

    if (rpcbind_talk_dump(talk, &entries, NULL) != OUTCOME_OK)
        return;
    for (unsigned i = 0; i < registration->count; i++) {
        const struct address *address = &registration->addresses[i];
        char universal[ADDRESS_TEXT_SIZE];
        bool unset;
        const struct rpcb *entry = find_entry(entries, registration->program, registration->version,
                                              address_netid(address));
        if (!entry || strcmp(entry->r_addr, address_universal(address, universal)) != 0)
            continue;
        /* If it stays, the next start takes it over. */
        if (rpcbind_talk_unset(talk, registration->program, registration->version, entry->r_netid, &unset,
                               NULL) != OUTCOME_OK)
            return;
    }
}

void *rpcbind_registration_free(struct rpcbind_registration *registration)
{
    scoped(talk_end_at) struct rpcbind_talk *talk = NULL;

    if (registration && rpcbind_talk_here(LEAVE_MS, 0, &talk, NULL) == OUTCOME_OK)
        unset_ours(talk, registration);
    free(registration);
    return NULL;
}

/* ---- transient numbers ---- */

/* As rpcbind writes the owner of an entry. */
static void own_name(char name[24])
{
    uid_t uid = geteuid();

    if (uid == 0)
        snprintf(name, 24, "superuser");
    else
        snprintf(name, 24, "%u", (unsigned)uid);
}

static bool is_transient(const struct rpcb *entry)
{
    return entry->r_prog >= TRANSIENT_MIN && entry->r_prog <= TRANSIENT_MAX;
}

static enum outcome remove_dead(struct rpcbind_talk *talk, rpcblist_ptr entries, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    unsigned looked = 0;
    int64_t until = clock_elapsed(clock_system()) + CLEAN_MS * (int64_t)1000000;
    char name[24];

    own_name(name);
    for (; entries && looked < CLEANED_MAX && outcome == OUTCOME_OK; entries = entries->rpcb_next) {
        const struct rpcb *entry = &entries->rpcb_map;
        enum life life;
        bool unset;
        if (!is_transient(entry) || strcmp(entry->r_owner, name) != 0 ||
            strncmp(entry->r_netid, "tcp", 3) != 0)
            continue;
        if (clock_elapsed(clock_system()) > until || rpcbind_talk_is_stopped(talk))
            return OUTCOME_OK; /* the next start goes on */
        looked++;
        if (is_dead(talk, entry, &life))
            outcome = rpcbind_talk_unset(talk, (uint32_t)entry->r_prog, (uint32_t)entry->r_vers,
                                         entry->r_netid, &unset, why);
    }
    return outcome;
}

static bool is_free(rpcblist_ptr entries, uint32_t program)
{
    for (; entries; entries = entries->rpcb_next)
        if (entries->rpcb_map.r_prog == program)
            return false;
    return true;
}

static uint32_t random_number(void)
{
    uint32_t random = (uint32_t)getpid() * 2654435761u;

    /* Without randomness two that start at once may try the same number; rpcbind gives it to one. */
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random ^= (uint32_t)getppid();
    return TRANSIENT_MIN + random % (TRANSIENT_MAX - TRANSIENT_MIN + 1u);
}

/* All addresses under this number, or none. */
static enum outcome try_number(struct rpcbind_talk *talk, rpcblist_ptr entries,
                               const struct rpcbind_registration *registration, bool *out,
                               struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    bool all = true;
    unsigned set = 0;

    for (unsigned i = 0; i < registration->count && all && outcome == OUTCOME_OK; i++) {
        const struct address *address = &registration->addresses[i];
        if (!takes_netid(entries, address_netid(address)))
            continue;
        outcome = rpcbind_talk_set(talk, registration->program, registration->version, address, &all, why);
        set = i + 1;
    }
    if (outcome == OUTCOME_OK && !all && set > 1)
        unset_ours(talk, registration);
    if (outcome == OUTCOME_OK)
        *out = all;
    return outcome;
}

static enum outcome find_number(struct rpcbind_talk *talk, struct rpcbind_registration *registration,
                                struct failure *why)
{
    scoped(entries_free_at) rpcblist_ptr entries = NULL;
    uint32_t number = random_number();
    bool found = false;
    enum outcome outcome = rpcbind_talk_dump(talk, &entries, why);

    if (outcome == OUTCOME_OK)
        outcome = remove_dead(talk, entries, why);
    for (unsigned tries = 0; tries < TRIES_MAX && !found && outcome == OUTCOME_OK; tries++) {
        registration->program = number;
        if (is_free(entries, number))
            outcome = try_number(talk, entries, registration, &found, why);
        number = number == TRANSIENT_MAX ? TRANSIENT_MIN : number + 1;
    }
    if (outcome == OUTCOME_OK && !found)
        return failure_set(why, OUTCOME_UNAVAILABLE, "rpcbind takes none of %d transient program numbers",
                           TRIES_MAX);
    return outcome;
}

enum outcome rpcbind_register_transient(const struct address *addresses, unsigned count, uint32_t version,
                                        int stop_fd, uint32_t *program, struct rpcbind_registration **out,
                                        struct failure *why)
{
    scoped(talk_end_at) struct rpcbind_talk *talk = NULL;
    scoped_free struct rpcbind_registration *registration = NULL;
    enum outcome outcome = rpcbind_registration_new(0, version, addresses, count, &registration, why);

    if (outcome == OUTCOME_OK)
        outcome = rpcbind_talk_here(ASK_MS, stop_fd, &talk, why);
    if (outcome == OUTCOME_OK)
        outcome = find_number(talk, registration, why);
    if (outcome != OUTCOME_OK)
        return as_unavailable(outcome, why);
    *program = registration->program;
    *out = take_ptr(&registration);
    return OUTCOME_OK;
}

/* ---- where another machine's program is ---- */

enum outcome rpcbind_find(const struct address *host, uint32_t program, uint32_t version,
                          unsigned deadline_ms, int stop_fd, struct address *out, struct failure *why)
{
    scoped(talk_end_at) struct rpcbind_talk *talk = NULL;
    uint16_t port = 0;
    enum outcome outcome = rpcbind_talk_with(host, deadline_ms, stop_fd, &talk, why);

    if (outcome == OUTCOME_OK)
        outcome = rpcbind_talk_port(talk, program, version, address_netid(host), &port, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    *out = *host;
    address_set_port(out, port);
    return OUTCOME_OK;
}
