/* The table of commands: names, usages, options, words of help. */
#include "client/cli/command.h"
#include "client/cli/translate.h"

#define SHARED CHOICE_JSON, CHOICE_QUIET

static const char put_more[] = N_(
    "dir/a goes under the name a; - is standard input. A name that is there with the\n"
    "same size and digest is left as it is, and said to be unchanged.");
static const char get_more[] = N_(
    "a/b comes as ./b. The bytes are compared with the file's digest before they\n"
    "take their name; an existing file is kept without --replace. -o - writes to\n"
    "standard output.");
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
static const char cancel_more[] = N_(
    "An id cancels one interest, a name or glob all that were registered with exactly\n"
    "that text. A line for each: what became of it, its id and its pattern.");

const struct command command_table[] = {
    {"put",
     N_("FILE... [--as=NAME | --to=PREFIX/] [--replace]"),
     N_("upload files"),
     put_more,
     {CHOICE_AS, CHOICE_TO, CHOICE_REPLACE, SHARED},
     FROM_ANYWHERE,
     1,
     SIZE_MAX,
     false,
     put_run},
    {"get",
     N_("NAME... [-o PATH|DIR/|-] [--replace]"),
     N_("download files"),
     get_more,
     {CHOICE_OUTPUT, CHOICE_REPLACE, SHARED},
     FROM_ANYWHERE,
     1,
     SIZE_MAX,
     false,
     get_run},
    {"ls",
     N_("[GLOB] [-l]"),
     N_("list files"),
     NULL,
     {CHOICE_DETAILS, CHOICE_EXACT, SHARED},
     FROM_ANYWHERE,
     0,
     1,
     false,
     ls_run},
    {"stat",
     N_("NAME"),
     N_("show what is known of a file"),
     NULL,
     {SHARED},
     FROM_ANYWHERE,
     1,
     1,
     false,
     stat_run},
    {"rm", N_("NAME..."), N_("remove files"), NULL, {SHARED}, FROM_ANYWHERE, 1, SIZE_MAX, false, rm_run},
    {"mv",
     N_("OLD NEW [--replace]"),
     N_("rename a file"),
     NULL,
     {CHOICE_REPLACE, SHARED},
     FROM_ANYWHERE,
     2,
     2,
     false,
     mv_run},
    {"wait",
     N_("NAME-OR-GLOB... [--any | --count=N] [--timeout=D] [--get]"),
     N_("sleep until files came"),
     wait_more,
     {CHOICE_ANY, CHOICE_COUNT, CHOICE_TIMEOUT, CHOICE_GET, CHOICE_EXACT, SHARED},
     FROM_ANYWHERE,
     1,
     SIZE_MAX,
     false,
     wait_run},
    {"interest",
     N_("NAME-OR-GLOB --for=D [--every]"),
     N_("register interest in a file that will come"),
     interest_more,
     {CHOICE_FOR, CHOICE_EVERY, CHOICE_EXACT, SHARED},
     FROM_ANYWHERE,
     1,
     1,
     false,
     interest_run},
    {"interests", "", N_("list your interests"), NULL, {SHARED}, FROM_ANYWHERE, 0, 0, false, interests_run},
    {"renew",
     N_("ID --for=D"),
     N_("give an interest more time"),
     NULL,
     {CHOICE_FOR, SHARED},
     FROM_ANYWHERE,
     1,
     1,
     false,
     renew_run},
    {"cancel",
     N_("NAME-OR-ID"),
     N_("cancel interests"),
     cancel_more,
     {CHOICE_EXACT, SHARED},
     FROM_ANYWHERE,
     1,
     1,
     false,
     cancel_run},
    {"listen",
     "",
     N_("stay, and print each event as it comes"),
     listen_more,
     {SHARED},
     FROM_COMMAND_LINE | FROM_BATCH,
     0,
     0,
     false,
     listen_run},
    {"ping", "", N_("call the server once"), NULL, {SHARED}, FROM_ANYWHERE, 0, 0, false, ping_run},
    {"status", "", N_("show the server's counters"), NULL, {SHARED}, FROM_ANYWHERE, 0, 0, false, status_run},
    {"connect",
     N_("[SERVER]"),
     N_("connect to a server"),
     NULL,
     {CHOICE_QUIET},
     FROM_PROMPT,
     0,
     1,
     true,
     connect_run},
    {"disconnect",
     "",
     N_("take back the route of notices, and disconnect; interests stay"),
     NULL,
     {CHOICE_QUIET},
     FROM_PROMPT,
     0,
     0,
     true,
     disconnect_run},
    {"help",
     N_("[COMMAND]"),
     N_("list the commands, or explain one"),
     NULL,
     {CHOICE_END},
     FROM_ANYWHERE,
     0,
     1,
     true,
     help_run},
    {"quit", "", N_("leave"), NULL, {CHOICE_END}, FROM_BATCH | FROM_PROMPT, 0, 0, true, quit_run},
    {.name = NULL},
};
