/*
 * attachment: the durable mailbox held, and its events shown: a mailbox
 * (mailbox.h) with a keeper (keeper.h). It prints, flushes, records, then
 * acknowledges: the handler does the first two, this the third, the keeper the
 * last. Behind fileshare_attach, fileshare_detach and fileshare_callback; a
 * session has one at most.
 */
#pragma once

struct attachment;
