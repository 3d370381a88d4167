/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests' parameters, capabilities, and where those attached by guest-attach listen, in the state directory, so that the
 * next daemon knows them.
 *
 *   settings/NAME.json    version 1; NAME in hex; of one VMM's process, and of no use to another
 *
 * What cannot be kept is logged: a guest's settings count as long as this daemon lives in any case.
 */
#ifndef MIGD_DAEMON_SETTINGS_STORE_H
#define MIGD_DAEMON_SETTINGS_STORE_H

struct daemon;
struct guest;

/* They changed. */
void settings_save(const struct guest *g);

/* Take those that a former daemon kept for the VMM with this pid, if there are any. */
void settings_load(struct guest *g, int pid);

/* G's VMM is gone, or another one has its name. */
void settings_forget(const struct guest *g);

/* Remove those of VMMs that are gone. */
void settings_prune(const struct daemon *d);

/* Attach those VMMs again that a former daemon had attached by guest-attach. The door is open. */
void settings_reattach(struct daemon *d);

#endif
