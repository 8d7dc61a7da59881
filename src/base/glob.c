#include "base/glob.h"

#include "base/name.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * A pattern is read into a row of steps. Those before the first wildcard are the
 * prefix, compared as bytes; the others become a machine that keeps the set of
 * steps that may come next, one bit each, and takes a character of the name in a
 * few operations for each 64 steps. A hostile pattern over a hostile name, a
 * kilobyte each, costs tens of microseconds.
 *
 * For that the characters are sorted into classes that the steps do not tell
 * apart, and each class has a mask of the steps that take it.
 */
enum step_kind { STEP_LITERAL, STEP_ANY, STEP_SET, STEP_STAR, STEP_STARS };

struct step {
    uint32_t kind : 4;
    uint32_t negated : 1;
    uint32_t value : 24; /* LITERAL: the character; SET: index of its first range */
};

struct range {
    uint32_t low, high; /* low > high: the end of a set */
};

/* No step and no range is made of less than a byte of the pattern (the end of a set: of its ']'). */
struct steps {
    size_t count, range_count;
    struct step rows[NAME_SIZE_MAX];
    struct range ranges[NAME_SIZE_MAX];
};

enum { WORDS_MAX = NAME_SIZE_MAX / 64 + 1, ASCII = 128 };

struct glob {
    char *prefix;
    size_t prefix_size;
    size_t step_count; /* of the machine; bit `step_count` of a set of steps means: matched */
    size_t words;      /* in a set of steps */
    uint64_t *star;    /* the steps that are '*' */
    uint64_t *stars;   /* the steps that are '**' */
    uint64_t *masks;   /* the first: for characters that no step names; then one for each class that some do */
    uint32_t *starts;  /* class i is the characters from starts[i] to before starts[i + 1] */
    uint16_t *mask_of; /* which mask class i has */
    size_t class_count;
    uint16_t ascii[ASCII]; /* the mask of each character below 128: no search */
    max_align_t memory[];  /* what the pointers point to */
};

/* What is read of a pattern: its text was checked to be UTF-8. */
struct reader {
    const unsigned char *text;
    size_t size, at;
};

static uint32_t peek(const struct reader *reader)
{
    uint32_t code = 0;
    utf8_read(reader->text + reader->at, reader->size - reader->at, &code);
    return code;
}

static uint32_t next(struct reader *reader)
{
    uint32_t code = 0;
    reader->at += utf8_read(reader->text + reader->at, reader->size - reader->at, &code);
    return code;
}

static bool ended(const struct reader *reader)
{
    return reader->at >= reader->size;
}

static bool escaped(struct reader *reader, uint32_t *code)
{
    *code = next(reader);
    if (*code != '\\')
        return true;
    if (ended(reader))
        return false;
    *code = next(reader);
    return true;
}

static void add_range(struct steps *steps, uint32_t low, uint32_t high)
{
    steps->ranges[steps->range_count++] = (struct range){ low, high };
}

static enum outcome refuse_set(size_t start, const char *reason, struct failure *why)
{
    return failure_set(why, OUTCOME_INVALID, "the glob has a '[' at byte %zu %s", start, reason);
}

/* As in "[[:alpha:]]": those mean something by a locale, and nothing here. */
static bool is_class(const char *text)
{
    if (text[0] != '[' || text[1] != ':')
        return false;
    size_t size = strspn(text + 2, "abcdefghijklmnopqrstuvwxyz");
    return size > 0 && text[2 + size] == ':' && text[3 + size] == ']';
}

/* Reads a set, from after its '[' to after its ']'. */
static enum outcome read_set(struct steps *steps, struct reader *reader, struct failure *why)
{
    static const char no_end[] = "without its ']' (write \\[ for the character itself)";
    size_t start = reader->at - 1;
    struct step *step = &steps->rows[steps->count++];
    *step = (struct step){ .kind = STEP_SET, .value = (uint32_t)steps->range_count & 0xffffff };
    if (!ended(reader) && (peek(reader) == '!' || peek(reader) == '^')) {
        step->negated = 1;
        next(reader);
    }
    for (bool first = true;; first = false) {
        if (ended(reader))
            return refuse_set(start, no_end, why);
        if (peek(reader) == ']' && !first) {
            next(reader);
            add_range(steps, 1, 0);
            return OUTCOME_OK;
        }
        const unsigned char *at = reader->text + reader->at;
        if (is_class((const char *)at))
            return refuse_set(start, "with a class as [:alpha:] in it; only characters and ranges are known", why);
        uint32_t low, high;
        if (!escaped(reader, &low))
            return refuse_set(start, no_end, why);
        high = low;
        at = reader->text + reader->at;
        if (at[0] == '-' && at[1] != ']' && at[1] != '\0') {
            next(reader);
            if (!escaped(reader, &high))
                return refuse_set(start, no_end, why);
            if (high < low)
                return refuse_set(start, "with a range that runs backwards", why);
        }
        add_range(steps, low, high);
    }
}

static enum outcome read_step(struct steps *steps, struct reader *reader, struct failure *why)
{
    size_t start = reader->at;
    uint32_t code = next(reader);
    struct step step = { .kind = STEP_LITERAL, .value = code & 0xffffff };
    switch (code) {
    case '[': return read_set(steps, reader, why);
    case '?': step.kind = STEP_ANY; break;
    case '*':
        step.kind = STEP_STAR;
        while (!ended(reader) && peek(reader) == '*') {
            next(reader);
            step.kind = STEP_STARS;
        }
        break;
    case '\\':
        if (ended(reader))
            return failure_set(why, OUTCOME_INVALID, "the glob ends with a lone '\\' at byte %zu", start);
        step.value = next(reader) & 0xffffff;
        break;
    default: break;
    }
    steps->rows[steps->count++] = step;
    return OUTCOME_OK;
}

static enum outcome check_text(const char *pattern, size_t size, struct failure *why)
{
    if (size == 0)
        return failure_set(why, OUTCOME_INVALID, "the glob is empty");
    if (size > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "the glob has more than %d bytes", NAME_SIZE_MAX);
    for (size_t at = 0; at < size;) {
        uint32_t code;
        size_t length = utf8_read((const unsigned char *)pattern + at, size - at, &code);
        if (length == 0)
            return failure_set(why, OUTCOME_INVALID, "the glob is not UTF-8 at byte %zu", at);
        if (utf8_is_control(code))
            return failure_set(why, OUTCOME_INVALID, "the glob has a control character (U+%04X) at byte %zu", code, at);
        at += length;
    }
    return OUTCOME_OK;
}

static size_t utf8_write(uint32_t code, char *out)
{
    unsigned char *to = (unsigned char *)out;
    if (code < 0x80) {
        to[0] = (unsigned char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char heads[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        to[i] = (unsigned char)(0x80 | (code & 0x3f));
    to[0] = (unsigned char)(heads[length] | code);
    return length;
}

/* Writes the literals that the pattern begins with; returns how many steps they are. */
static size_t write_prefix(const struct steps *steps, char prefix[NAME_BUFFER], size_t *out_size)
{
    size_t count = 0, size = 0;
    for (; count < steps->count && steps->rows[count].kind == STEP_LITERAL; count++)
        size += utf8_write(steps->rows[count].value, prefix + size);
    prefix[size] = '\0';
    *out_size = size;
    return count;
}

static bool is_end(const struct range *range)
{
    return range->low > range->high;
}

static int compare_codes(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

/*
 * Where classes begin: at each character that a step names, and after it; the
 * same for the ends of ranges and for the slash. Sorted, each once. Returns how
 * many; `starts` takes 2 * NAME_SIZE_MAX + 3.
 */
static size_t find_classes(const struct steps *steps, size_t first, uint32_t *starts)
{
    size_t count = 0;
    starts[count++] = 0;
    starts[count++] = '/';
    starts[count++] = '/' + 1;
    for (size_t i = first; i < steps->count; i++) {
        if (steps->rows[i].kind == STEP_LITERAL) {
            starts[count++] = steps->rows[i].value;
            starts[count++] = steps->rows[i].value + 1u;
        }
    }
    for (size_t i = 0; i < steps->range_count; i++) {
        if (!is_end(&steps->ranges[i])) {
            starts[count++] = steps->ranges[i].low;
            starts[count++] = steps->ranges[i].high + 1;
        }
    }
    qsort(starts, count, sizeof *starts, compare_codes);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (starts[i] != starts[kept - 1])
            starts[kept++] = starts[i];
    }
    return kept;
}

static size_t class_of(const struct glob *glob, uint32_t code)
{
    size_t low = 0, high = glob->class_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (glob->starts[middle] <= code)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint64_t *mask_at(const struct glob *glob, size_t mask)
{
    return glob->masks + mask * glob->words;
}

static void set_bit(uint64_t *words, size_t bit)
{
    words[bit / 64] |= (uint64_t)1 << bit % 64;
}

static void clear_bit(uint64_t *words, size_t bit)
{
    words[bit / 64] &= ~((uint64_t)1 << bit % 64);
}

/* Marks with `mask_of` 1 the classes that some step names. The others have mask 0. */
static size_t number_masks(struct glob *glob, const struct steps *steps, size_t first)
{
    glob->mask_of[class_of(glob, '/')] = 1;
    for (size_t i = first; i < steps->count; i++) {
        if (steps->rows[i].kind == STEP_LITERAL)
            glob->mask_of[class_of(glob, steps->rows[i].value)] = 1;
    }
    for (size_t i = 0; i < steps->range_count; i++) {
        const struct range *range = &steps->ranges[i];
        if (is_end(range))
            continue;
        for (size_t at = class_of(glob, range->low); at < glob->class_count && glob->starts[at] <= range->high; at++)
            glob->mask_of[at] = 1;
    }
    size_t count = 1;
    for (size_t i = 0; i < glob->class_count; i++) {
        if (glob->mask_of[i])
            glob->mask_of[i] = (uint16_t)count++;
    }
    return count;
}

static void fill_set(struct glob *glob, const struct step *step, const struct range *range, size_t bit)
{
    for (; !is_end(range); range++) {
        for (size_t at = class_of(glob, range->low); at < glob->class_count && glob->starts[at] <= range->high; at++) {
            if (step->negated)
                clear_bit(mask_at(glob, glob->mask_of[at]), bit);
            else
                set_bit(mask_at(glob, glob->mask_of[at]), bit);
        }
    }
}

/* What a step takes: first what it takes of characters it does not name, then what it says of those it does. */
static void fill_masks(struct glob *glob, const struct steps *steps, size_t first, size_t mask_count)
{
    for (size_t i = first; i < steps->count; i++) {
        const struct step *step = &steps->rows[i];
        if (step->kind == STEP_ANY || (step->kind == STEP_SET && step->negated))
            set_bit(mask_at(glob, 0), i - first);
        else if (step->kind == STEP_STAR)
            set_bit(glob->star, i - first);
        else if (step->kind == STEP_STARS)
            set_bit(glob->stars, i - first);
    }
    for (size_t mask = 1; mask < mask_count; mask++)
        memcpy(mask_at(glob, mask), mask_at(glob, 0), glob->words * sizeof *glob->masks);
    for (size_t i = first; i < steps->count; i++) {
        const struct step *step = &steps->rows[i];
        if (step->kind == STEP_SET)
            fill_set(glob, step, &steps->ranges[step->value], i - first);
    }
    /* a slash is taken by itself alone */
    size_t slash = glob->mask_of[class_of(glob, '/')];
    memset(mask_at(glob, slash), 0, glob->words * sizeof *glob->masks);
    for (size_t i = first; i < steps->count; i++) {
        if (steps->rows[i].kind == STEP_LITERAL)
            set_bit(mask_at(glob, glob->mask_of[class_of(glob, steps->rows[i].value)]), i - first);
    }
    for (uint32_t code = 0; code < ASCII; code++)
        glob->ascii[code] = glob->mask_of[class_of(glob, code)];
}

/* One allocation, its largest things first; NULL without memory. */
static struct glob *make(const struct steps *steps)
{
    char prefix[NAME_BUFFER];
    uint32_t starts[2 * NAME_SIZE_MAX + 3];
    uint16_t mask_of[2 * NAME_SIZE_MAX + 3] = { 0 };
    size_t prefix_size, first = write_prefix(steps, prefix, &prefix_size);
    struct glob plan = { .starts = starts, .mask_of = mask_of, .prefix_size = prefix_size };
    plan.class_count = find_classes(steps, first, starts);
    plan.step_count = steps->count - first;
    plan.words = plan.step_count / 64 + 1;
    size_t mask_count = number_masks(&plan, steps, first);

    size_t sets = (2 + mask_count) * plan.words;
    struct glob *glob = calloc(1, sizeof *glob + sets * sizeof *glob->masks + plan.class_count * sizeof *starts +
                                      plan.class_count * sizeof *mask_of + prefix_size + 1);
    if (!glob)
        return NULL;
    *glob = plan;
    glob->star = (uint64_t *)(void *)glob->memory;
    glob->stars = glob->star + plan.words;
    glob->masks = glob->stars + plan.words;
    glob->starts = memcpy(glob->star + sets, starts, plan.class_count * sizeof *starts);
    glob->mask_of = memcpy(glob->starts + plan.class_count, mask_of, plan.class_count * sizeof *mask_of);
    glob->prefix = memcpy(glob->mask_of + plan.class_count, prefix, prefix_size + 1);
    fill_masks(glob, steps, first, mask_count);
    return glob;
}

enum outcome glob_new(const char *pattern, struct glob **out, struct failure *why)
{
    size_t size = strnlen(pattern, NAME_SIZE_MAX + 1);
    enum outcome outcome = check_text(pattern, size, why);
    struct steps steps = { .count = 0, .range_count = 0 };
    struct reader reader = { (const unsigned char *)pattern, size, 0 };
    while (outcome == OUTCOME_OK && !ended(&reader))
        outcome = read_step(&steps, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct glob *glob = make(&steps);
    if (!glob)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot keep a glob");
    *out = glob;
    return OUTCOME_OK;
}

void *glob_free(struct glob *glob)
{
    free(glob);
    return NULL;
}

/*
 * One character further: steps that take it are followed by the next, stars stay
 * (and may stand for nothing, so what follows a star is next as well; two stars
 * never stand side by side). False when no way is left.
 */
static bool take(const struct glob *glob, uint64_t *states, uint32_t code)
{
    const uint64_t *mask = mask_at(glob, code < ASCII ? glob->ascii[code] : glob->mask_of[class_of(glob, code)]);
    uint64_t crossing = code == '/' ? 0 : UINT64_MAX;
    uint64_t carry = 0, star_carry = 0, alive = 0;
    for (size_t i = 0; i < glob->words; i++) {
        uint64_t any_star = glob->star[i] | glob->stars[i];
        uint64_t moved = states[i] & mask[i];
        uint64_t next_states = moved << 1 | carry | (states[i] & ((glob->star[i] & crossing) | glob->stars[i]));
        uint64_t at_star = next_states & any_star;
        carry = moved >> 63;
        next_states |= at_star << 1 | star_carry;
        star_carry = at_star >> 63;
        states[i] = next_states;
        alive |= next_states;
    }
    return alive != 0;
}

bool glob_match(const struct glob *glob, const char *name)
{
    if (strncmp(name, glob->prefix, glob->prefix_size) != 0)
        return false;
    uint64_t states[WORDS_MAX] = { 1 | ((glob->star[0] | glob->stars[0]) & 1) << 1 };
    const unsigned char *bytes = (const unsigned char *)name;
    size_t size = strlen(name);
    for (size_t at = glob->prefix_size; at < size;) {
        uint32_t code;
        size_t length = utf8_read(bytes + at, size - at, &code);
        if (length == 0) { /* no name has it; a byte that is no character equals none */
            code = UINT32_MAX;
            length = 1;
        }
        if (!take(glob, states, code))
            return false;
        at += length;
    }
    return states[glob->step_count / 64] >> glob->step_count % 64 & 1;
}

const char *glob_prefix(const struct glob *glob)
{
    return glob->prefix;
}

bool glob_is_pattern(const char *text)
{
    return strpbrk(text, "*?[\\") != NULL;
}
