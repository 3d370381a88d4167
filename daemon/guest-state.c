/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest is doing, from its VMM's words to QMP's. */
#include <errno.h>
#include <migd/guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach/codec.h"
#include "attach/handover.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/guest.h"
#include "daemon/link.h"
#include "daemon/migration.h"
#include "schema/events.h"

static const enum run_state run_states[] = {
	[MIGD_GUEST_RS_RUNNING] = RUN_STATE_RUNNING,
	[MIGD_GUEST_RS_PAUSED] = RUN_STATE_PAUSED,
	[MIGD_GUEST_RS_INMIGRATE] = RUN_STATE_INMIGRATE,
	[MIGD_GUEST_RS_FINISH_MIGRATE] = RUN_STATE_FINISH_MIGRATE,
	[MIGD_GUEST_RS_POSTMIGRATE] = RUN_STATE_POSTMIGRATE,
	[MIGD_GUEST_RS_SHUTDOWN] = RUN_STATE_SHUTDOWN,
	[MIGD_GUEST_RS_PANICKED] = RUN_STATE_GUEST_PANICKED,
	[MIGD_GUEST_RS_SUSPENDED] = RUN_STATE_SUSPENDED,
	/*
	 * As QEMU after a failed incoming migration: it still waits for a guest, which will not
	 * come.
	 */
	[MIGD_GUEST_RS_DISCARDED] = RUN_STATE_INMIGRATE,
};

enum run_state guest_run_state(const struct guest *g)
{
	return g->run_state < ARRAY_SIZE(run_states) && g->run_state > 0 ? run_states[g->run_state]
									 : RUN_STATE_INTERNAL_ERROR;
}

uint8_t guest_handover(const struct guest *g, uint8_t *ret_id)
{
	enum handover_state state = g->decision ? decision_state(g->decision) : HANDOVER_INVALID;

	if (state == HANDOVER_INVALID) {
		if (ret_id)
			memcpy(ret_id, g->handover_id, ATTACH_ID_LEN);
		return g->handover_state;
	}
	if (ret_id)
		memcpy(ret_id, g->decision->handover_id, ATTACH_ID_LEN);
	return (uint8_t)state;
}

/* STOP and RESUME are told when they change something, and not twice. */
static void tell_stopped(struct guest *g, bool stopped)
{
	if (g->stopped_told == stopped)
		return;
	g->stopped_told = stopped;
	if (stopped)
		event_stop(g->daemon->qmp, g->name);
	else
		event_resume(g->daemon->qmp, g->name);
}

/* More than so many say no more than these. */
static void add_blocker(struct guest *g, const char *text)
{
	char *copy = g->n_blockers < GUEST_BLOCKERS_MAX ? strdup(text) : NULL;

	if (copy)
		g->blockers[g->n_blockers++] = copy;
}

void guest_forget_blockers(struct guest *g)
{
	while (g->n_blockers > 0)
		free(g->blockers[--g->n_blockers]);
}

static void tell(struct guest *g, const struct attach_event_body *e)
{
	struct qmp_server *qmp = g->daemon->qmp;

	switch (e->kind) {
	case ATTACH_EVENT_STOPPED:
		tell_stopped(g, true);
		break;
	case ATTACH_EVENT_RESUMED:
		tell_stopped(g, false);
		break;
	case ATTACH_EVENT_SHUTDOWN:
		event_shutdown(qmp, g->name, true, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
		tell_stopped(g, true);
		break;
	case ATTACH_EVENT_RESET:
		event_reset(qmp, g->name, true, SHUTDOWN_CAUSE_GUEST_RESET);
		break;
	case ATTACH_EVENT_PANIC:
		event_guest_panicked(qmp, g->name, GUEST_PANIC_ACTION_PAUSE);
		tell_stopped(g, true);
		break;
	case ATTACH_EVENT_SUSPEND:
		event_suspend(qmp, g->name);
		break;
	case ATTACH_EVENT_WAKEUP:
		event_wakeup(qmp, g->name);
		break;
	case ATTACH_EVENT_UNPLUG:
		event_unplug_primary(qmp, g->name, e->text);
		break;
	case ATTACH_EVENT_BLOCKED:
		add_blocker(g, e->text);
		break;
	case ATTACH_EVENT_ROLLED_BACK:
		log_notice("the VMM rolled a migration back guest='%s': %s", g->name, e->text);
		break;
	case ATTACH_EVENT_RING_BROKEN:
		log_err("the dirty ring lost entries; the migration fails guest='%s'", g->name);
		break;
	case ATTACH_EVENT_VCPU_ERROR:
		log_err("a vCPU cannot go on guest='%s' vcpu=%llu: %s", g->name,
			(unsigned long long)e->value, e->text);
		break;
	default:
		break;
	}
}

/* Text from a VMM ends up in the log: one line, printable. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

int guest_on_event(struct guest *g, struct conn_msg *m, struct merr *err)
{
	struct attach_event_body e;
	int r = attach_event_body_decode(&m->body, &e, err);

	if (r < 0)
		return r;
	if (e.run_state == 0 || e.run_state >= ARRAY_SIZE(run_states))
		return merr_set(err, -EBADMSG, "EVENT: field 'run_state': %u is no run state",
				e.run_state);
	if (e.handover_state == HANDOVER_INVALID || e.handover_state >= HANDOVER_N_STATES)
		return merr_set(err, -EBADMSG,
				"EVENT: field 'handover_state': %u is no handover state",
				e.handover_state);
	make_printable(e.text);
	if (e.kind == ATTACH_EVENT_STOPPED || e.kind == ATTACH_EVENT_RESUMED)
		link_catch_up(g->migration);
	g->run_state = e.run_state;
	g->handover_state = e.handover_state;
	memcpy(g->handover_id, e.handover_id, sizeof(g->handover_id));
	log_debug("guest event guest='%s' kind=%u state=%s handover=%s", g->name, e.kind,
		  run_state_str(guest_run_state(g)), handover_state_name(e.handover_state));
	tell(g, &e);
	migration_guest_changed(g);
	return 0;
}

void uuid_format(const uint8_t uuid[ATTACH_ID_LEN], char ret[UUID_TEXT_LEN])
{
	size_t len = 0;

	for (size_t i = 0; i < ATTACH_ID_LEN; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			ret[len++] = '-';
		len += (size_t)snprintf(ret + len, 3, "%02x", uuid[i]);
	}
}

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* The migration knows the peer; without one (this daemon did not see it) the id alone is known. */
static int describe_handover(const struct guest *g, struct guest_info *info)
{
	char id_text[2 * ATTACH_ID_LEN + 1];
	uint8_t id[ATTACH_ID_LEN], state;

	if (g->migration && migration_handover_info(g->migration, &info->handover) == 0) {
		info->has_handover = true;
		return 0;
	}
	state = guest_handover(g, id);
	if (is_zero(id, sizeof(id)))
		return 0;
	handover_id_format(id, id_text);
	info->has_handover = true;
	info->handover.id = strdup(id_text);
	info->handover.state = state;
	info->handover.peer = strdup("");
	info->handover.in_doubt = state == HANDOVER_RELEASED;
	return info->handover.id && info->handover.peer ? 0 : -ENOMEM;
}

int guest_describe(const struct guest *g, struct guest_info *ret)
{
	struct guest_info info = { 0 };
	char uuid[UUID_TEXT_LEN];
	int r;

	uuid_format(g->uuid, uuid);
	info.name = strdup(g->name);
	info.uuid = strdup(uuid);
	info.role = g->role == MIGD_GUEST_INCOMING ? GUEST_ROLE_INCOMING : GUEST_ROLE_RUNNING;
	info.run_state = guest_run_state(g);
	info.vcpus = g->n_vcpus;
	info.memory = g->ram_bytes;
	info.pid = g->pid;
	info.attached = guest_attached(g);
	info.epoch = g->epoch;
	r = describe_handover(g, &info);
	if (r < 0 || !info.name || !info.uuid) {
		guest_info_done(&info);
		return -ENOMEM;
	}
	*ret = info;
	return 0;
}
