/* SPDX-License-Identifier: Apache-2.0 */
/* The journal as the log's sink: lines with their fields (docs/logging.md), by sd_journal_sendv(3). */
#ifndef MIGD_DAEMON_JOURNALD_H
#define MIGD_DAEMON_JOURNALD_H

/* If stderr is the journal's stream. IDENTIFIER (static) is what the journal calls us. Before threads. */
void journald_start(const char *identifier);

#endif
