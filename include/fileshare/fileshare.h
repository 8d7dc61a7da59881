/*
 * libfileshare: upload, list, download, and wait for files on a fileshare server.
 *
 *     fileshare_open                      a session: one server, found and greeted
 *         fileshare_put, _get, _stat, _list, _remove, _rename
 *         fileshare_wait                  sleeps until names came
 *         fileshare_attach                events of a mailbox, as they come
 *     fileshare_close
 *
 * Failures. Every function that can fail returns an enum fileshare_status and
 * takes, last, a struct fileshare_error (may be NULL): one line for people that
 * says what failed, on what, why, and what to do. Outputs are set only with
 * FILESHARE_OK, where nothing else is said.
 *
 * Strings are UTF-8 and NUL-ended. Times are nanoseconds since 1970, UTC. Sizes
 * and offsets are bytes. What comes out is a plain value that owns nothing.
 *
 * Connections. A session reconnects by itself, with back-off, for as long as
 * options.retry_seconds; calls that write carry an id, so that a repeat after a
 * lost reply counts once.
 *
 * Threads. A session may be used by one thread at a time; attached mailboxes and
 * waits have threads of their own inside. Handlers run on those: they may call
 * functions of *another* session, and fileshare_stop of theirs, nothing else.
 * Everything ends with fileshare_close, which joins them.
 *
 * Signals. The library installs no handlers and never dies of SIGPIPE.
 */
#ifndef FILESHARE_FILESHARE_H
#define FILESHARE_FILESHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FILESHARE_API __attribute__((visibility("default")))
#define FILESHARE_MUST_CHECK __attribute__((warn_unused_result))

enum fileshare_status {
    FILESHARE_OK = 0,
    FILESHARE_EXISTS,      /* the name, or the local file, is there already */
    FILESHARE_ABSENT,      /* no such file, interest or mailbox */
    FILESHARE_CHANGED,     /* another version, size or digest than expected */
    FILESHARE_DENIED,      /* the server does not permit it */
    FILESHARE_INVALID,     /* arguments that make no sense: a bad name, glob or address */
    FILESHARE_NOSPACE,     /* the server has no room */
    FILESHARE_LIMIT,       /* a bound is reached */
    FILESHARE_CORRUPT,     /* bytes that do not match their digest */
    FILESHARE_HELD,        /* another process holds the mailbox */
    FILESHARE_EXPIRED,     /* the interest's time is over */
    FILESHARE_UNAVAILABLE, /* the server can't do it now; try later */
    FILESHARE_TIMEOUT,     /* time ran out */
    FILESHARE_UNREACHABLE, /* no way to the server */
    FILESHARE_PROTOCOL,    /* the server said what it must not say, or failed */
    FILESHARE_LOCAL,       /* trouble with a file or folder of this machine */
    FILESHARE_NOMEM,
    FILESHARE_STOPPED      /* fileshare_stop was called */
};

enum { FILESHARE_NAME_SIZE = 1024, FILESHARE_PRINCIPAL_SIZE = 128, FILESHARE_ERROR_SIZE = 640 };

struct fileshare_error {
    enum fileshare_status status;
    char text[FILESHARE_ERROR_SIZE]; /* one line, without newline */
};

struct fileshare_id {
    uint8_t octets[16]; /* all zeros: none */
};

/* 32 hex digits and a NUL into `text` (33 bytes); returns it. */
FILESHARE_API char *fileshare_id_text(const struct fileshare_id *id, char text[33]);
/* INVALID unless `text` is 32 hex digits. */
FILESHARE_API enum fileshare_status fileshare_id_parse(const char *text, struct fileshare_id *out);

struct fileshare_entry {
    char name[FILESHARE_NAME_SIZE];
    char owner[FILESHARE_PRINCIPAL_SIZE];
    uint64_t size;
    int64_t mtime;             /* of the uploader's file */
    int64_t arrival;           /* when this version came under this name */
    uint8_t digest[16];        /* XXH3-128, canonical order */
    struct fileshare_id version;
};

/* "0.1.0". Static. */
FILESHARE_API const char *fileshare_version(void);

/* ---- what breaks on the way ---- */

enum fileshare_incident_kind {
    FILESHARE_LOST,            /* no connection, or a server that can't: it is tried again, `seconds` at most */
    FILESHARE_RESUMED,         /* a transfer goes on: `moved` of `total` bytes were verified, and are not moved again */
    FILESHARE_ANEW,            /* a transfer begins again at its first byte */
    FILESHARE_KEPT             /* a transfer ends unfinished, and `moved` of `total` bytes are kept for the next one */
};

/* Nothing of this is a failure: what a function comes to, its status says. */
struct fileshare_incident {
    enum fileshare_incident_kind kind;
    const char *name;          /* of the file; NULL with LOST */
    const char *text;          /* LOST, ANEW: why; else "". Until the call returns */
    uint32_t seconds;
    uint64_t moved, total;     /* total is UINT64_MAX while it is not known */
    bool earlier;              /* RESUMED: with what an earlier session had moved */
};

typedef void fileshare_told(void *context, const struct fileshare_incident *incident);

/* ---- a session ---- */

struct fileshare; /* a session */

enum { FILESHARE_CONNECTIONS_MAX = 8 }; /* of one transfer */

struct fileshare_options {
    /*
     * "host" (port from its rpcbind, else the default port), "host:port",
     * "[v6]:port", "unix:/path"; NULL: $FILESHARE_SERVER, else the default Unix
     * sockets, else localhost.
     */
    const char *server;
    uint32_t program;          /* the server's program number; 0: the default */
    const char *software;      /* how the caller names itself to the server; NULL: "libfileshare" */
    unsigned connect_seconds;  /* for one try to connect; 0: 10 */
    /*
     * How long a broken connection, or a server that can't do it just now, is tried again, from the last byte
     * that moved on; 0: not at all, but for one new connection at once in place of one that broke (it may have
     * gone while nothing was done). fileshare_open itself tries once.
     */
    unsigned retry_seconds;
    /*
     * While a wait or an attached mailbox waits: a server from which nothing comes for so long, though
     * it is asked, is taken for dead, and connected to anew; 0: 45. Of several connections of a
     * transfer one that is silent for so long, at most 15, is left out.
     */
    unsigned dead_seconds;
    /*
     * Connections over which one transfer goes at most, 1 to FILESHARE_CONNECTIONS_MAX. 0: more than one where the
     * server is far away (2 ms there and back) and packets are lost on the way. Over Unix sockets, of a pipe, of what
     * is small, and while a mailbox is attached, it is one. They are closed at the end of each function.
     */
    unsigned connections;
    bool without_rpcbind;      /* do not register the callback program, nor ask rpcbind for the port */
    /*
     * fileshare_open makes no connection: fileshare_ping does, so that fileshare_stop can end that, and nothing else
     * may be called before.
     */
    bool connect_later;
    /* Durable mailboxes, uploads that were broken off; NULL: $XDG_STATE_HOME/fileshare, else ~/.local/state/fileshare. */
    const char *state_folder;
    fileshare_told *told;      /* may be NULL; called on the thread that called the session's function */
    void *told_context;
};

/* UNREACHABLE, TIMEOUT, INVALID (the server's text), PROTOCOL, NOMEM. *out: fileshare_close. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_open(const struct fileshare_options *options, struct fileshare **out, struct fileshare_error *error);
FILESHARE_API void fileshare_close(struct fileshare *session); /* NULL is fine */

/*
 * Makes what the session is doing end soon with STOPPED: a transfer, a wait, a
 * reconnect. Safe from any thread and from signal handlers.
 */
FILESHARE_API void fileshare_stop(struct fileshare *session);
/* As `connections` of the options, from the next transfer on. */
FILESHARE_API void fileshare_use_connections(struct fileshare *session, unsigned connections);
/*
 * The next function that answers STOPPED has answered the stop. One that came too
 * late for what it was meant for would stop the next thing: this takes it away.
 */
FILESHARE_API void fileshare_forget_stop(struct fileshare *session);

struct fileshare_server_info {
    char address[160];         /* as it is reached: "127.0.0.1:18003", "unix:/run/fileshare/socket" */
    char host[512];            /* the server's name for itself */
    char software[512];
    char principal[FILESHARE_PRINCIPAL_SIZE]; /* who it takes us for; "" nobody */
    struct fileshare_id instance;             /* of its store */
    int64_t now;
};
FILESHARE_API void fileshare_server(const struct fileshare *session, struct fileshare_server_info *out);

/* One NULL call; *out_ns is its round trip. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_ping(struct fileshare *session, int64_t *out_ns, struct fileshare_error *error);

/* Calls `each` for every counter of the server. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_counters(struct fileshare *session, void (*each)(void *context, const char *label, uint64_t amount),
                   void *context, struct fileshare_error *error);

/* ---- transfer ---- */

/*
 * Called now and then while bytes move, on the caller's thread. `total` is
 * UINT64_MAX while it is not known.
 */
typedef void fileshare_progress(void *context, uint64_t moved, uint64_t total);

struct fileshare_put {
    const char *name;
    int fd;                    /* read from its current offset to the end; a pipe is fine; stays the caller's */
    const char *label;         /* what to call it in messages; NULL: the name */
    int64_t mtime;             /* kept with the file; INT64_MIN: now */
    bool replace;              /* take the place of a file of that name */
    /*
     * If the way breaks for good, or it is stopped: leave what arrived on the server, with a note of it in the
     * state folder, and the next put of the same file, under the same name and with `keep`, goes on from there.
     * Only of a file that has a name, and is too large for one call.
     */
    bool keep;
    fileshare_progress *progress;
    void *context;
};

/*
 * Uploads. *unchanged (may be NULL) is true if the server has the name already,
 * with the same size and digest: then nothing was written, nobody is told, and
 * the answer is OK. EXISTS otherwise, unless put->replace.
 */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_put(struct fileshare *session, const struct fileshare_put *put, struct fileshare_entry *out,
              bool *unchanged, struct fileshare_error *error);

struct fileshare_get {
    const char *name;
    struct fileshare_id version; /* none: the newest */
    int fd;                      /* written from its current offset on; a pipe is fine; stays the caller's */
    const char *label;
    bool keep;                   /* fileshare_get_to: see there */
    fileshare_progress *progress;
    void *context;
};

/* Downloads into an open file, and compares the digest at the end: CORRUPT if it differs. No fsync. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_get(struct fileshare *session, const struct fileshare_get *get, struct fileshare_entry *out,
              struct fileshare_error *error);

/*
 * Downloads to `path`: a temporary file beside it, verified, synced, given the
 * entry's mtime, then renamed. EXISTS if `path` is there, unless `replace`. get->fd and
 * get->label are not looked at. Missing folders are not made.
 *
 * With get->keep the temporary file is ".NAME.VERSION.part", of mode 0600 meanwhile; if the way breaks for good,
 * or it is stopped, it stays, and the next one of the same version to the same path, with `keep`, verifies what it
 * holds and goes on from there. Those of other versions are removed. A version that goes away on the server while it
 * is got is begun anew with the newest, unless get->version says which it must be.
 */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_get_to(struct fileshare *session, const struct fileshare_get *get, const char *path, bool replace,
                 struct fileshare_entry *out, struct fileshare_error *error);

/* ---- many files at once ---- */

/*
 * The same for many files, in less time: small ones go bundled, with several
 * bundles on their way. Each file is what it would be alone, and is told once, in
 * the order in which `next` gave them, when it is done or has failed; the next
 * ones are taken meanwhile, up to some thousand ahead. OK: each was told, well or
 * not. STOPPED, NOMEM: those not told may have been done.
 */
struct fileshare_put_file {
    const char *path;          /* read from here; the time of its last change is kept */
    const char *name;
    const char *label;         /* what to call it in messages; NULL: the path */
    bool replace;
    void *item;                /* the caller's own */
};

struct fileshare_put_many {
    /* The next file; its strings live until it is told. False: there are no more. */
    bool (*next)(void *context, struct fileshare_put_file *out);
    /* `entry` and `unchanged` as with fileshare_put; entry NULL: it failed, `error` says why. */
    void (*told)(void *context, const struct fileshare_put_file *file, const struct fileshare_entry *entry,
                 bool unchanged, const struct fileshare_error *error);
    bool keep;                 /* as fileshare_put has it, of large files */
    fileshare_progress *progress; /* over all files; may be NULL */
    void *context;
};

FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_put_many(struct fileshare *session, const struct fileshare_put_many *many, struct fileshare_error *error);

struct fileshare_get_file {
    const char *name;
    const char *path;          /* beneath the folder; its parts are those that a name may have */
    uint64_t size;             /* as far as it is known, else UINT64_MAX: a hint */
    bool replace;
    void *item;                /* the caller's own */
};

struct fileshare_get_many {
    const char *folder;        /* where they go */
    bool (*next)(void *context, struct fileshare_get_file *out);
    void (*told)(void *context, const struct fileshare_get_file *file, const struct fileshare_entry *entry,
                 const struct fileshare_error *error);
    bool keep;                 /* as fileshare_get_to has it, of large files */
    fileshare_progress *progress;
    void *context;
};

/*
 * As fileshare_get_to, but that folders that are missing beneath `folder` are
 * made, and that no symbolic link among those is followed.
 */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_get_many(struct fileshare *session, const struct fileshare_get_many *many, struct fileshare_error *error);

/* ---- names ---- */

FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_stat(struct fileshare *session, const char *name, struct fileshare_entry *out,
               struct fileshare_error *error);

/*
 * Calls `each` for every entry that matches (glob NULL: all), in byte order, until
 * it returns false. It may not use the session.
 */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_list(struct fileshare *session, const char *glob,
               bool (*each)(void *context, const struct fileshare_entry *entry), void *context,
               struct fileshare_error *error);

/* `expected` NULL: whatever version is there. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_remove(struct fileshare *session, const char *name, const struct fileshare_id *expected,
                 struct fileshare_error *error);

FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_rename(struct fileshare *session, const char *source, const char *target, bool replace,
                 struct fileshare_entry *out, struct fileshare_error *error);

/* Whether `text` has characters that a glob takes as special. */
FILESHARE_API bool fileshare_is_glob(const char *text);

/* ---- interests of the durable mailbox ---- */

/*
 * The durable mailbox is this user's, one for each server's store: a file of
 * mode 0600 in the state folder, made when first needed. Its interests outlive
 * the process; its events wait for whoever attaches next.
 */

enum fileshare_interest_state {
    FILESHARE_WAITING,
    FILESHARE_CANCELLED,
    FILESHARE_MET,             /* its arrival came first */
    FILESHARE_OVER,            /* it had run out */
    FILESHARE_NEVER            /* there is no such interest */
};

struct fileshare_interest {
    struct fileshare_id id;
    char pattern[FILESHARE_NAME_SIZE];
    bool glob;                 /* else an exact name */
    bool every;                /* each arrival, else the first */
    enum fileshare_interest_state state;
    uint32_t seconds_left;
    uint64_t arrivals;
};

struct fileshare_register {
    const char *pattern;
    bool glob;
    bool every;
    uint32_t seconds;
};

struct fileshare_registered {
    bool registered;           /* false: it is there already, and nothing was registered */
    struct fileshare_id id;
    uint32_t seconds_left;
};

/* `present` (may be NULL) is called for what is there already. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_interest(struct fileshare *session, const struct fileshare_register *what,
                   void (*present)(void *context, const struct fileshare_entry *entry), void *context,
                   struct fileshare_registered *out, struct fileshare_error *error);

/* *route (may be NULL): "none", "proving", "dial-back" or "reversed". Static. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_interests(struct fileshare *session,
                    void (*each)(void *context, const struct fileshare_interest *interest), void *context,
                    const char **route, struct fileshare_error *error);

/* ABSENT; EXPIRED, CHANGED (met) if it no longer waits. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_renew(struct fileshare *session, const struct fileshare_id *id, uint32_t seconds, uint32_t *seconds_left,
                struct fileshare_error *error);

/* By id, or (id NULL) all with exactly this pattern; `each` (may be NULL) is told what became of each. ABSENT if there is none. */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_cancel(struct fileshare *session, const struct fileshare_id *id, const char *pattern,
                 void (*each)(void *context, const struct fileshare_interest *interest), void *context,
                 struct fileshare_error *error);

/* ---- being called back ---- */

enum fileshare_event_kind {
    FILESHARE_ARRIVED,
    FILESHARE_UNMET,           /* the interest's time is over, and nothing came */
    FILESHARE_DROPPED          /* the mailbox was full: `dropped` events are lost */
};

struct fileshare_event {
    uint64_t number;           /* in its mailbox; the same event keeps its number; 0 with the route "present" */
    enum fileshare_event_kind kind;
    struct fileshare_id interest;
    int64_t happened;
    uint64_t dropped;          /* with DROPPED: so many events were lost */
    char pattern[FILESHARE_NAME_SIZE];
    struct fileshare_entry entry; /* with ARRIVED */
    const char *route;         /* how it came: "dial-back", "reversed", "pull", "present". Static */
};

/* Shows one event. True: it was shown; the library records that, then acknowledges. False: it will come again. */
typedef bool fileshare_handler(void *context, const struct fileshare_event *event);

/*
 * Takes the durable mailbox and has its events brought: starts the callback
 * program, hands it over, and keeps the route up through broken connections (by
 * a thread and a connection of its own) until fileshare_detach or close.
 * HELD if another process has it; the error's text says which.
 */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_attach(struct fileshare *session, fileshare_handler *handler, void *context,
                 struct fileshare_error *error);
/* Withdraws the route; interests stay. OK if nothing is attached. */
FILESHARE_API void fileshare_detach(struct fileshare *session);

/* The callback program while attached: false if there is none. `route` as in fileshare_interests. */
struct fileshare_callback {
    uint32_t program;
    char address[160];
    bool registered;           /* with this machine's rpcbind */
    const char *route;
};
FILESHARE_API bool fileshare_callback(struct fileshare *session, struct fileshare_callback *out);

struct fileshare_wait {
    const char *const *patterns; /* names, or globs where globs[i] */
    const bool *globs;
    size_t count;              /* of patterns */
    size_t wanted;             /* arrivals that are enough; 0: one for each pattern */
    uint32_t seconds;          /* 0: without end */
    /* Told of each arrival once, in the order they came; false ends the wait (OK). */
    bool (*arrived)(void *context, const struct fileshare_event *event);
    /* Told when a way back was found or lost (may be NULL): `note` is for people. */
    void (*note)(void *context, const char *note);
    void *context;
};

/*
 * Waits in a mailbox of its own, which it renews while it lives and drops at the
 * end; runs on the caller's thread, handlers too. Looking and waiting are one
 * step: what is there already counts at once. Reconnects meanwhile. TIMEOUT when
 * the time is over; STOPPED after fileshare_stop: both only after the interests
 * are cancelled, and an arrival that the cancelling meets was told (OK if it was
 * the last wanted). A second fileshare_stop gives that up, too. An arrival counts
 * once, however often it is told. *met (may be NULL, and is set whatever the answer) says
 * how many came.
 */
FILESHARE_API FILESHARE_MUST_CHECK enum fileshare_status
fileshare_wait(struct fileshare *session, const struct fileshare_wait *wait, size_t *met,
               struct fileshare_error *error);

#ifdef __cplusplus
}
#endif

#endif
