/*
 * The keys. To add one: a member in struct config, a row here, its line in
 * man/fileshare.conf.5 (a test compares).
 */
#include "server/config.h"

#include "proto/fileshare.h"

#define MEMBER(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
#define KIB            (UINT64_C(1) << 10)
#define MIB            (UINT64_C(1) << 20)
#define ANY            UINT32_MAX

enum { DAY = 86400, YEAR = 365 * DAY };

static const struct config_key keys[] = {
    {"server", "port", CONFIG_NUMBER, MEMBER(port), 0, 65535, "18003", "NUMBER",
     "TCP port; 0 takes any free one"},
    {"server", "listen", CONFIG_LIST, MEMBER(listen), 0, 0, "", "ADDRESS",
     "listen here instead of on loopback: an IP address, with :PORT (an IPv6 one in [brackets]) if the port is "
     "another; may be repeated"},
    {"server", "allow", CONFIG_LIST, MEMBER(allow), 0, 0, "", "CIDR",
     "let only these networks in, besides loopback and the Unix socket; may be repeated"},
    {"server", "insecure", CONFIG_FLAG, MEMBER(insecure), 0, 1, "no", NULL,
     "let any address in, though a caller is only who it claims to be (AUTH_SYS)"},
    {"server", "socket", CONFIG_TEXT, MEMBER(socket), 0, 0, "", "PATH",
     "Unix socket; \"none\" for none (default: /run/fileshare/socket for root, else "
     "$XDG_RUNTIME_DIR/fileshare/socket)"},
    {"server", "program", CONFIG_NUMBER, MEMBER(program), 1, 0x3fffffff, "541479752", "NUMBER",
     "RPC program number (decimal, or hex with 0x)"},
    {"server", "rpcbind", CONFIG_FLAG, MEMBER(rpcbind), 0, 1, "yes", NULL, "register with this machine's rpcbind"},
    {"server", "address-file", CONFIG_TEXT, MEMBER(address_file), 0, 0, "", "PATH",
     "when ready, write the addresses there, \"netid address\" a line"},
    {"server", "stop-seconds", CONFIG_DURATION, MEMBER(stop_seconds), 0, DAY, "20", "DURATION",
     "how long running calls may take to finish when the server is told to stop"},

    {"store", "store", CONFIG_TEXT, MEMBER(store), 0, 0, "", "FOLDER",
     "where files are kept (default: /var/lib/fileshare for root, else $XDG_STATE_HOME/fileshare or "
     "~/.local/state/fileshare)"},
    {"store", "reserve", CONFIG_SIZE, MEMBER(store_limits.reserve_bytes), 0, UINT64_MAX, "64M", "SIZE",
     "free space that uploads leave alone"},
    {"store", "uploads", CONFIG_NUMBER, MEMBER(store_limits.uploads), 1, ANY, "4096", "NUMBER",
     "unfinished uploads, in all"},
    {"store", "uploads-per-caller", CONFIG_NUMBER, MEMBER(store_limits.uploads_per_principal), 1, ANY, "256",
     "NUMBER", "unfinished uploads of one caller"},
    {"store", "upload-idle", CONFIG_DURATION, MEMBER(store_limits.upload_idle_seconds), 10, YEAR, "1d", "DURATION",
     "an unfinished upload untouched for so long is dropped"},
    {"store", "interests", CONFIG_NUMBER, MEMBER(store_limits.interests), 1, ANY, "1000000", "NUMBER",
     "interests, in all"},
    {"store", "interests-per-caller", CONFIG_NUMBER, MEMBER(store_limits.interests_per_principal), 1, ANY,
     "100000", "NUMBER", "interests of one caller, in whatever mailboxes"},
    {"store", "interests-per-mailbox", CONFIG_NUMBER, MEMBER(store_limits.interests_per_mailbox), 1, ANY,
     "10000", "NUMBER", "interests of one mailbox"},
    {"store", "open-globs", CONFIG_NUMBER, MEMBER(store_limits.open_globs), 0, ANY, "10000", "NUMBER",
     "interests in globs that begin with a wildcard, in all"},
    {"store", "open-globs-per-caller", CONFIG_NUMBER, MEMBER(store_limits.open_globs_per_principal), 0, ANY,
     "1000", "NUMBER", "the same, of one caller"},
    {"store", "open-globs-per-mailbox", CONFIG_NUMBER, MEMBER(store_limits.open_globs_per_mailbox), 0, ANY,
     "64", "NUMBER", "the same, of one mailbox"},
    {"store", "mailboxes", CONFIG_NUMBER, MEMBER(store_limits.mailboxes), 1, ANY, "100000", "NUMBER",
     "clients with interests or events, in all"},
    {"store", "mailboxes-per-caller", CONFIG_NUMBER, MEMBER(store_limits.mailboxes_per_principal), 1, ANY, "10000",
     "NUMBER", "the same, of one caller"},
    {"store", "events-per-mailbox", CONFIG_NUMBER, MEMBER(store_limits.events_per_mailbox), 1, ANY, "10000",
     "NUMBER", "events kept for a client that is away; the oldest are dropped, and counted"},
    {"store", "event-age", CONFIG_DURATION, MEMBER(store_limits.event_seconds), 1, YEAR, "30d", "DURATION",
     "events older than this are dropped, and counted"},
    {"store", "answers-per-caller", CONFIG_NUMBER, MEMBER(store_limits.answers_per_principal), 16, ANY, "10000",
     "NUMBER", "answers of a day kept for calls that are repeated"},
    {"store", "kept", CONFIG_DURATION, MEMBER(store_limits.kept_seconds), 0, YEAR, "10m", "DURATION",
     "how long replaced or removed content stays readable for running downloads"},
    {"store", "kept-size", CONFIG_SIZE, MEMBER(store_limits.kept_bytes), 0, UINT64_MAX, "64G", "SIZE",
     "at most so much of it; the oldest goes first"},
    {"store", "open-reads", CONFIG_NUMBER, MEMBER(store_limits.open_reads), 1, ANY, "256", "NUMBER",
     "contents held open for downloads"},

    {"log", "log", CONFIG_TEXT, MEMBER(log_level), 0, 0, "info", "LEVEL", "error, warning, notice, info or debug"},
    {"log", "log-to", CONFIG_TEXT, MEMBER(log_sink), 0, 0, "stderr", "SINK",
     "stderr, journal (stderr with its level prefixes) or syslog"},

    {"engine", "workers", CONFIG_NUMBER, MEMBER(engine.workers), 0, 1024, "0", "NUMBER",
     "threads that serve calls, 3 at least; 0: four for each core, 8 to 64"},
    {"engine", "permits", CONFIG_NUMBER, MEMBER(engine.permits), 0, 1022, "0", "NUMBER",
     "how many of them may wait for the disk at once; 0: workers less 2"},
    {"engine", "connections", CONFIG_NUMBER, MEMBER(engine.connections), 0, ANY, "0", "NUMBER",
     "connections at once; 0: what the limit of open files allows"},
    {"engine", "connections-per-address", CONFIG_NUMBER, MEMBER(engine.connections_per_address), 0, ANY, "0",
     "NUMBER", "the same from one address (of IPv6: from one /64), or of one user on the Unix socket; 0: a quarter"},
    {"engine", "record-size", CONFIG_SIZE, MEMBER(engine.record_max), 64 * KIB, FS_RECORD_MAX, "1088K", "SIZE",
     "the longest record taken"},
    {"engine", "record-size-anonymous", CONFIG_SIZE, MEMBER(engine.record_anonymous_max), KIB,
     FS_RECORD_ANONYMOUS_MAX, "64K", "SIZE", "the same before the caller is known"},
    {"engine", "in-flight", CONFIG_SIZE, MEMBER(engine.in_flight_bytes), 2 * MIB, UINT64_MAX, "32M", "SIZE",
     "bytes of all records being received or served"},
    {"engine", "in-flight-reserve", CONFIG_SIZE, MEMBER(engine.in_flight_reserve_bytes), 64 * KIB, UINT64_MAX, "16M",
     "SIZE", "more, for small records only"},
    {"engine", "turn-records", CONFIG_NUMBER, MEMBER(engine.turn_records), 1, ANY, "16", "NUMBER",
     "calls that a connection is served before others have their turn"},
    {"engine", "turn-size", CONFIG_SIZE, MEMBER(engine.turn_bytes), 64 * KIB, UINT64_MAX, "2M", "SIZE",
     "bytes, likewise"},
    {"engine", "unsent-records", CONFIG_NUMBER, MEMBER(engine.unsent_records), 1, ANY, "64", "NUMBER",
     "replies a client may leave unread before it is not read itself"},
    {"engine", "unsent-size", CONFIG_SIZE, MEMBER(engine.unsent_bytes), 64 * KIB, UINT64_MAX, "2M", "SIZE",
     "bytes, likewise"},
    {"engine", "waiting-records", CONFIG_NUMBER, MEMBER(engine.waiting_records), 1, ANY, "4096", "NUMBER",
     "calls waiting for the disk, in all"},
    {"engine", "idle", CONFIG_DURATION, MEMBER(idle_seconds), 1, YEAR, "5m", "DURATION",
     "a connection without a call for so long is closed, unless it waits for callbacks"},
    {"engine", "progress-size", CONFIG_SIZE, MEMBER(engine.progress_bytes), 1, UINT32_MAX, "60K", "SIZE",
     "a peer in mid-record, or with replies unread, moves at least so much ..."},
    {"engine", "progress", CONFIG_DURATION, MEMBER(progress_seconds), 1, YEAR, "60", "DURATION",
     "... in so long, or is cut"},
    {"engine", "probe", CONFIG_DURATION, MEMBER(probe_seconds), 1, YEAR, "60", "DURATION",
     "how often a connection that waits for callbacks is called with NULL"},

    {"callback", "outgoing-port", CONFIG_NUMBER, MEMBER(outgoing_port), 0, 65535, "0", "NUMBER",
     "source port of calls back, for firewalls; 0: any"},
    {"callback", "deliveries", CONFIG_NUMBER, MEMBER(sender.deliveries), 1, ANY, "4096", "NUMBER",
     "clients called back at once"},
    {"callback", "callback-connections", CONFIG_NUMBER, MEMBER(sender.connections), 1, ANY, "2048", "NUMBER",
     "connections for calls back kept open"},
    {"callback", "callback-connect", CONFIG_DURATION, MEMBER(connect_seconds), 1, 3600, "5", "DURATION",
     "how long a connection to a client may take"},
    {"callback", "callback-answer", CONFIG_DURATION, MEMBER(answer_seconds), 1, 3600, "30", "DURATION",
     "how long a client may take to acknowledge"},
    {"callback", "retry-first", CONFIG_DURATION, MEMBER(retry_first_seconds), 1, DAY, "1", "DURATION",
     "a client that could not be reached is tried again after so long,"},
    {"callback", "retry-last", CONFIG_DURATION, MEMBER(retry_last_seconds), 1, DAY, "5m", "DURATION",
     "then twice that and so on, up to this"},
};

const struct config_key *config_keys(size_t *count)
{
    *count = sizeof keys / sizeof keys[0];
    return keys;
}
