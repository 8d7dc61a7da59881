#include "base/last_words.h"

#include <string.h>
#include <unistd.h>

void last_words(const char *text, int code)
{
    alarm(1);
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* there is nobody to say it to */
    }
    _exit(code);
}
