/*
 * events: an event of a mailbox, and an arrival, as `wait`, `listen` and the
 * prompt print them. The plain lines are stable: programs read them.
 *
 *   wait     arrived <tab> NAME <tab> SIZE <tab> DIGEST
 *   listen   NUMBER <tab> arrived <tab> NAME    <tab> SIZE  <tab> DIGEST <tab> OWNER <tab> TIME
 *            NUMBER <tab> expired <tab> PATTERN <tab> -     <tab> -      <tab> -     <tab> TIME
 *            NUMBER <tab> dropped <tab> -       <tab> COUNT <tab> -      <tab> -     <tab> TIME
 *
 * NUMBER is the event's in its mailbox; SIZE is in bytes; DIGEST is XXH3-128 in
 * hex; TIME is UTC, as 2026-11-22T13:46:48Z. NAME, PATTERN and OWNER as name_show
 * shows them: a backslash is doubled, what can't be shown is \xNN; so none of
 * them holds a tab or a newline. As JSON the same values have names, and besides
 * there are pattern, route, mtime and version.
 */
#pragma once

#include "client/cli/output.h"

#include <fileshare/fileshare.h>

void events_print_arrival(struct output *output, const struct fileshare_event *event);
void events_print(struct output *output, const struct fileshare_event *event);

/* For people, without a newline: "report.csv has arrived (4.2 KiB, from unix:1000)". Returns `text`. */
enum { EVENTS_TEXT_SIZE = 2 * OUTPUT_TEXT_SIZE };
char *events_text(const struct fileshare_event *event, char text[EVENTS_TEXT_SIZE]);
