#include "client/cli/exit.h"

#include <signal.h>

enum exit_code exit_of_status(enum fileshare_status status)
{
    switch (status) {
    case FILESHARE_OK: return EXIT_DONE;
    case FILESHARE_INVALID: return EXIT_USAGE;
    case FILESHARE_ABSENT: return EXIT_ABSENT;
    case FILESHARE_TIMEOUT: return EXIT_TIMEOUT;
    case FILESHARE_UNREACHABLE:
    case FILESHARE_UNAVAILABLE: return EXIT_UNREACHABLE;
    case FILESHARE_DENIED: return EXIT_DENIED;
    case FILESHARE_EXISTS:
    case FILESHARE_CHANGED:
    case FILESHARE_EXPIRED: return EXIT_CONFLICT;
    case FILESHARE_NOSPACE:
    case FILESHARE_LIMIT: return EXIT_ROOM;
    case FILESHARE_LOCAL:
    case FILESHARE_HELD:
    case FILESHARE_NOMEM: return EXIT_LOCAL;
    case FILESHARE_CORRUPT:
    case FILESHARE_PROTOCOL: return EXIT_PROTOCOL;
    case FILESHARE_STOPPED: return EXIT_SIGNAL + SIGINT;
    }
    return EXIT_PROTOCOL;
}

void tally_add(struct tally *tally, enum exit_code code)
{
    tally->items++;
    if (code == EXIT_DONE)
        return;
    if (tally->failed++ == 0)
        tally->first = code;
}

enum exit_code tally_code(const struct tally *tally)
{
    if (tally->failed == 0)
        return EXIT_DONE;
    return tally->items == 1 ? tally->first : EXIT_SOME;
}
