/* callback: a stock callback program in this process, and what it shows. */
#pragma once

#include "fileshare.h"

/* Takes a free transient number and port, registers with rpcbind; *out is what to hand over. Exits on failure. */
void callback_begin(fs_id proof, fs_id ticket, fs_callback *out);

/* Serves until a NOTIFY came or the time is over; whether one came. */
bool_t callback_serve(int seconds);

/* Prints an event; foreign.c has it. */
void callback_show(const fs_event *event);
