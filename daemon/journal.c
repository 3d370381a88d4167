/* SPDX-License-Identifier: Apache-2.0 */
/* A migration's journal. */
#include "daemon/journal.h"

#include "daemon/daemon.h"
#include "daemon/fdstore.h"
#include "daemon/guest.h"
#include "daemon/migration.h"
#include "daemon/state-dir.h"
#include "daemon/worker.h"

int journal_write(struct migration *m, struct merr *err)
{
	char listen[ADDR_FORMATTED_MAX] = "";
	const struct guest *g = m->guest;
	int pid = m->worker ? worker_pid(m->worker) : 0;
	struct journal j = {
		.id = m->id,
		.guest = g->name,
		.outgoing = m->direction == WORKER_DIRECTION_OUTGOING,
		.exit_on_error = m->exit_on_error,
		.uri = m->uri,
		.handover_id = m->handover_id,
		.listen = listen,
		.worker_pid = pid,
		.worker_start_time = pid ? process_start_time(pid) : 0,
		.vmm_pid = g->pid,
		.vmm_start_time = g->pid_start_time,
		.priority = m->priority,
		.waits = m->waits,
		.allow_weak_handover = m->allow_weak_handover,
		.arrival = m->arrival,
		.postcopy = migration_in_postcopy(m) || m->lazy,
		.strategy = migration_strategy_str(m->strategy),
		.deadline_ms = m->deadline_ms,
		.start_postcopy = m->start_postcopy,
		.start_remote = m->start_remote,
		.peer_waits = m->peer_waits,
	};

	if (m->has_listen_addr)
		(void)addr_format(&m->listen_addr, listen, sizeof(listen));
	m->journaled = true;
	fdstore_put("decision", m->id, g->decision_fd);
	fdstore_put("listen", m->id, m->listen_fd);
	return state_dir_record(g->daemon->state, &j, err);
}

void journal_forget(struct migration *m)
{
	state_dir_forget(m->guest->daemon->state, m->id);
	fdstore_drop("decision", m->id);
	fdstore_drop("listen", m->id);
}
