#include "client/cli/words.h"

#include "base/scoped.h"
#include "client/cli/translate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void words_fini(struct words *words)
{
    free(words->rows);
    free(words->text);
    *words = (struct words){.count = 0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* After an opening quote at *at: its content goes to *to, *at behind the closing one. False: there is none. */
static bool take_quoted(const char **at, char **to, char quote)
{
    for (; **at != quote; (*at)++) {
        if (quote == '"' && **at == '\\' && (*at)[1] != '\0' && strchr("\"\\$`", (*at)[1]))
            (*at)++;
        if (**at == '\0')
            return false;
        *(*to)++ = **at;
    }
    (*at)++;
    return true;
}

/* One word from *at on, with a NUL at *to. */
static enum outcome take_word(const char **at, char **to, struct failure *why)
{
    while (**at != '\0' && !is_blank(**at)) {
        char c = *(*at)++;
        if (c == '\'' || c == '"') {
            if (!take_quoted(at, to, c))
                return failure_set(why, OUTCOME_INVALID, _("the quote %c is not closed"), c);
            continue;
        }
        if (c == '\\') {
            if (**at == '\0' || **at == '\n')
                return failure_set(why, OUTCOME_INVALID, _("the line ends with a backslash"));
            c = *(*at)++;
        }
        *(*to)++ = c;
    }
    *(*to)++ = '\0';
    return OUTCOME_OK;
}

enum outcome words_split(const char *line, struct words *out, struct failure *why)
{
    size_t size = strlen(line);
    scoped(words_fini) struct words words = {
        .rows = calloc(size / 2 + 2, sizeof *words.rows), /* a word takes a character and a blank */
        .text = malloc(size + 1),
    };
    if (!words.rows || !words.text)
        return failure_set(why, OUTCOME_NOMEM, _("no memory for a line"));
    char *to = words.text;
    for (const char *at = line;;) {
        while (is_blank(*at))
            at++;
        if (*at == '\0' || *at == '#')
            break;
        words.rows[words.count++] = to;
        enum outcome outcome = take_word(&at, &to, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    *out = words;
    words = (struct words){.count = 0};
    return OUTCOME_OK;
}
