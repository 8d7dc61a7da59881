/* The table of commands: names, usages, options, words of help. */
#include "client/cli/command.h"
#include "client/cli/translate.h"

#define SHARED CHOICE_JSON, CHOICE_QUIET

static const char put_more[] = N_(
    "dir/a goes under the name a; - is standard input. A name that is there with the\n"
    "same size and digest is left as it is, and said to be unchanged. One that was\n"
    "broken off goes on where it was, when the same file is put again.\n"
    "\n"
    "With -r what is in dir goes as dir/a, dir/b/c ...; what is in dir/. as a, b/c.\n"
    "Symbolic links in it are left out, and so is all else that is no file.\n"
    "\n"
    "One connection is mostly enough: small files share calls. --jobs has more of\n"
    "them, each with files of its own; what became of each is told in the same order.\n"
    "Far away, where packets are lost, one file goes over several by itself, or over\n"
    "as many as --connections says.");
static const char get_more[] = N_(
    "a/b comes as ./b. The bytes are compared with the file's digest before they\n"
    "take their name; an existing file is kept without --replace. -o - writes to\n"
    "standard output. One that was broken off goes on where it was, when the file is\n"
    "got again to the same path.\n"
    "\n"
    "With -r all names below each NAME come, x/dir/a/b as ./dir/a/b, and below . all\n"
    "there are; folders are made. --jobs and --connections are as with put.");
static const char wait_more[] = N_(
    "Ends when every exact name and one match of each glob came; what is there\n"
    "already counts at once. A line for each arrival, its values with tabs between:\n"
    "\n"
    "    arrived  NAME  SIZE  DIGEST\n"
    "\n"
    "SIZE is in bytes, DIGEST is XXH3-128 in hex. In NAME a backslash is doubled, and\n"
    "what can't be shown is \\xNN. Ends with 4 when time runs out, with 130 after\n"
    "Ctrl-C.");
static const char listen_more[] = N_(
    "Stays until Ctrl-C. A line for each event, its values with tabs between:\n"
    "\n"
    "    NUMBER  arrived  NAME     SIZE  DIGEST  OWNER  TIME\n"
    "    NUMBER  expired  PATTERN  -     -       -      TIME\n"
    "    NUMBER  dropped  -        COUNT -       -      TIME\n"
    "\n"
    "NUMBER grows, and is that event's own: it may come twice if the process was\n"
    "killed in between. TIME is UTC, SIZE in bytes, DIGEST XXH3-128 in hex; in NAME,\n"
    "PATTERN and OWNER a backslash is doubled, and what can't be shown is \\xNN.\n"
    "expired: an interest ran out unmet; dropped: COUNT events were lost.");
static const char interest_more[] = N_(
    "The interest outlives this command: its event is told by the next listen, or at\n"
    "the prompt. What is there already is said at once, and then (without --every)\n"
    "nothing is registered.");
static const char interests_more[] = N_(
    "A row for each, aligned:\n"
    "\n"
    "    ID  STATE  TIME-LEFT  once|every  exact|glob  ARRIVALS  ROUTE  PATTERN\n"
    "\n"
    "ROUTE is the way by which the mailbox is called back now: dial-back, reversed,\n"
    "proving, or none while nobody listens.");
static const char cancel_more[] = N_(
    "An id cancels one interest, a name or glob all that were registered with exactly\n"
    "that text. A line for each: what became of it, its id and its pattern.");

const struct command command_table[] = {
    {
        .name = "put",
        .usage = N_("FILE... [--as=NAME | --to=PREFIX/] [-r] [--jobs=N] [--connections=N] [--replace]"),
        .summary = N_("upload files"),
        .more = put_more,
        .choices = {CHOICE_AS, CHOICE_TO, CHOICE_RECURSIVE, CHOICE_JOBS, CHOICE_CONNECTIONS, CHOICE_REPLACE, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = SIZE_MAX,
        .check = put_check,
        .run = put_run,
    },
    {
        .name = "get",
        .usage = N_("NAME... [-o PATH|DIR/|-] [-r] [--jobs=N] [--connections=N] [--replace]"),
        .summary = N_("download files"),
        .more = get_more,
        .choices = {CHOICE_OUTPUT, CHOICE_RECURSIVE, CHOICE_JOBS, CHOICE_CONNECTIONS, CHOICE_REPLACE, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = SIZE_MAX,
        .check = get_check,
        .run = get_run,
    },
    {
        .name = "ls",
        .usage = N_("[GLOB] [-l]"),
        .summary = N_("list files"),
        .choices = {CHOICE_DETAILS, CHOICE_EXACT, SHARED},
        .origins = FROM_ANYWHERE,
        .most = 1,
        .run = ls_run,
    },
    {
        .name = "stat",
        .usage = N_("NAME"),
        .summary = N_("show what is known of a file"),
        .choices = {SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = 1,
        .run = stat_run,
    },
    {
        .name = "rm",
        .usage = N_("NAME..."),
        .summary = N_("remove files"),
        .choices = {SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = SIZE_MAX,
        .run = rm_run,
    },
    {
        .name = "mv",
        .usage = N_("OLD NEW [--replace]"),
        .summary = N_("rename a file"),
        .choices = {CHOICE_REPLACE, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 2,
        .most = 2,
        .run = mv_run,
    },
    {
        .name = "wait",
        .usage = N_("NAME-OR-GLOB... [--any | --count=N] [--timeout=D] [--get]"),
        .summary = N_("sleep until files came"),
        .more = wait_more,
        .choices = {CHOICE_ANY, CHOICE_COUNT, CHOICE_TIMEOUT, CHOICE_GET, CHOICE_EXACT, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = SIZE_MAX,
        .check = wait_check,
        .run = wait_run,
    },
    {
        .name = "interest",
        .usage = N_("NAME-OR-GLOB --for=D [--every]"),
        .summary = N_("register interest in a file that will come"),
        .more = interest_more,
        .choices = {CHOICE_FOR, CHOICE_EVERY, CHOICE_EXACT, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = 1,
        .check = interest_check,
        .run = interest_run,
    },
    {
        .name = "interests",
        .usage = "",
        .summary = N_("list your interests"),
        .more = interests_more,
        .choices = {SHARED},
        .origins = FROM_ANYWHERE,
        .run = interests_run,
    },
    {
        .name = "renew",
        .usage = N_("ID --for=D"),
        .summary = N_("give an interest more time"),
        .choices = {CHOICE_FOR, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = 1,
        .check = renew_check,
        .run = renew_run,
    },
    {
        .name = "cancel",
        .usage = N_("NAME-OR-ID"),
        .summary = N_("cancel interests"),
        .more = cancel_more,
        .choices = {CHOICE_EXACT, SHARED},
        .origins = FROM_ANYWHERE,
        .least = 1,
        .most = 1,
        .run = cancel_run,
    },
    {
        .name = "listen",
        .usage = "",
        .summary = N_("stay, and print each event as it comes"),
        .more = listen_more,
        .choices = {SHARED},
        .origins = FROM_COMMAND_LINE | FROM_BATCH,
        .run = listen_run,
    },
    {
        .name = "ping",
        .usage = "",
        .summary = N_("call the server once"),
        .choices = {SHARED},
        .origins = FROM_ANYWHERE,
        .run = ping_run,
    },
    {
        .name = "status",
        .usage = "",
        .summary = N_("show the server's counters"),
        .choices = {SHARED},
        .origins = FROM_ANYWHERE,
        .run = status_run,
    },
    {
        .name = "connect",
        .usage = N_("[SERVER]"),
        .summary = N_("connect to a server"),
        .choices = {CHOICE_QUIET},
        .origins = FROM_PROMPT,
        .most = 1,
        .alone = true,
        .run = connect_run,
    },
    {
        .name = "disconnect",
        .usage = "",
        .summary = N_("take back the route of notices, and disconnect; interests stay"),
        .choices = {CHOICE_QUIET},
        .origins = FROM_PROMPT,
        .alone = true,
        .run = disconnect_run,
    },
    {
        .name = "help",
        .usage = N_("[COMMAND]"),
        .summary = N_("list the commands, or explain one"),
        .choices = {CHOICE_END},
        .origins = FROM_ANYWHERE,
        .most = 1,
        .alone = true,
        .run = help_run,
    },
    {
        .name = "quit",
        .usage = "",
        .summary = N_("leave"),
        .choices = {CHOICE_END},
        .origins = FROM_BATCH | FROM_PROMPT,
        .alone = true,
        .run = quit_run,
    },
    {.name = NULL},
};
