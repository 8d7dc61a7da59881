/* inspect: a store that no server has open, looked at from inside. */
#pragma once

#include "fault/world.h"

/* Every entry has its content, byte for byte. */
void inspect_deep(struct world *world);
/* The same, a week later by the clock, when all that was given up is over: nothing is left but what names have. */
void inspect_swept(struct world *world);
