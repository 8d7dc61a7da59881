/*
 * last_words: the end of a process whose way out takes too long: a disk or a resolver hangs, or nobody reads its output.
 *
 * It is called by the handler of SIGALRM, set with SA_RESETHAND and SA_NODEFER: where nobody reads standard error
 * either, the words take a second, and then SIGALRM ends the process by default.
 */
#pragma once

/* Says it on standard error and ends the process with that code; nothing is flushed or run. */
void last_words(const char *text, int code) __attribute__((noreturn));
