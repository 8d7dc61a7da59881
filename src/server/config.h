/*
 * config: what an administrator may set, in one list.
 *
 *     config_new -> config_read (the file) -> config_set (each command line
 *         option) -> config_finish -> ... -> config_free
 *
 * One table (config_keys.c) makes the defaults, the reader of the file, the
 * command line options, the dump and the check. Each key has the same name in
 * the file ("name = value" below its "[section]") and on the command line
 * ("--name value"). The command line beats the file, the file the default.
 */
#pragma once

#include "base/address.h"
#include "base/log.h"
#include "base/outcome.h"
#include "callback/sender.h"
#include "rpc/server.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_LIST_MAX = 64 };

/* Values of a key that may be given more than once. */
struct config_list {
    char *texts[CONFIG_LIST_MAX];
    size_t count;
    bool from_default; /* replaced as a whole by the first value that is set */
};

struct config {
    /* [server] */
    uint32_t port, program;
    struct config_list listen, allow;
    char *socket;            /* a path, "none", or "" for the default */
    char *address_file;      /* "" for none */
    bool insecure;
    bool rpcbind;
    uint32_t stop_seconds;
    /* [store] */
    char *store;             /* "" for the default, until config_finish */
    struct store_limits store_limits;
    /* [log] */
    char *log_level, *log_sink;
    /* [engine] */
    struct rpc_limits engine;
    uint32_t idle_seconds, progress_seconds, probe_seconds;
    /* [callback] */
    struct sender_limits sender;
    uint32_t outgoing_port, retry_first_seconds, retry_last_seconds, connect_seconds, answer_seconds;

    /* What config_finish makes of the texts. */
    enum log_level level;
    enum log_sink sink;
    struct address_block blocks[CONFIG_LIST_MAX]; /* of allow */
    struct address addresses[CONFIG_LIST_MAX];    /* of listen; none: loopback */
    size_t address_count;
    bool has_socket;
    struct address socket_address;
};

enum config_kind { CONFIG_FLAG, CONFIG_TEXT, CONFIG_LIST, CONFIG_NUMBER, CONFIG_SIZE, CONFIG_DURATION };

struct config_key {
    const char *section, *name;
    enum config_kind kind;
    size_t offset, width;    /* of the member of struct config */
    uint64_t least, most;    /* of numbers, sizes (bytes) and durations (seconds) */
    const char *preset;      /* as it would stand in the file; of a list: empty */
    const char *label;       /* what the value is, for --help: "PATH"; NULL for flags */
    const char *help;
};

/* The list; *count rows. Static. */
const struct config_key *config_keys(size_t *count);

/* With every key at its default. NOMEM, FAULT. *out is yours. */
must_check enum outcome config_new(struct config **out, struct failure *why);
void *config_free(struct config *config); /* NULL is fine; returns NULL */

/* Sets one key from text; of a list, adds. INVALID names the key, the text and what would do. */
must_check enum outcome config_set(struct config *config, const struct config_key *key, const char *text,
                                   struct failure *why);

/* Reads a file: INVALID with "FILE:LINE: reason" for an unknown section or key, or a bad value; ABSENT, LOCAL. */
must_check enum outcome config_read(struct config *config, const char *path, struct failure *why);

/*
 * Once, after all is set: fills in the defaults that depend on who runs the
 * server, reads addresses, and refuses what may not be: addresses beyond
 * loopback want --insecure or --allow, since AUTH_SYS is a claim, not a proof.
 */
must_check enum outcome config_finish(struct config *config, struct failure *why);

/* Writes every key as a file would hold it: reading that gives the same. */
void config_dump(const struct config *config, FILE *to);
