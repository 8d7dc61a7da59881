/* What the acts' table and the looks at what they did share. */
#pragma once

#include "fault/acts/trial.h"

enum { TRIAL_SECONDS = 3600 };

enum trial_state look_made(const struct trial *trial, struct subject *subject);
enum trial_state look_replaced(const struct trial *trial, struct subject *subject);
enum trial_state look_removed(const struct trial *trial, struct subject *subject);
enum trial_state look_renamed(const struct trial *trial, struct subject *subject);
enum trial_state look_waiting(const struct trial *trial, struct subject *subject);
enum trial_state look_renewed(const struct trial *trial, struct subject *subject);
enum trial_state look_dropped(const struct trial *trial, struct subject *subject);
enum trial_state look_forgotten(const struct trial *trial, struct subject *subject);
enum trial_state look_told(const struct trial *trial, struct subject *subject);
enum trial_state look_acknowledged(const struct trial *trial, struct subject *subject);
