/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handover, as a model for spin: who may run the guest, whatever is killed and whenever the connection breaks.
 * docs/model.md says what it shows and what it leaves out. The names are the code's: states and events of
 * attach/handover.h, messages of engine/wire.h; tests/model/test-handover-is-proven.py compares the moves with the code's table.
 *
 *   POSTCOPY  1: the guest is activated before its memory is there
 *   FAULTS    how many things go wrong at most
 *   HOSTS     1: whole hosts may be lost, and an operator decides
 */
#ifndef POSTCOPY
#define POSTCOPY 0
#endif
#ifndef FAULTS
#define FAULTS 3
#endif
#ifndef HOSTS
#define HOSTS 0
#endif

mtype = {
	HANDOVER_RUNNING, HANDOVER_PRECOPY, HANDOVER_PAUSED, HANDOVER_RELEASED, HANDOVER_RETIRED,
	HANDOVER_EMPTY, HANDOVER_INCOMING, HANDOVER_LOADED, HANDOVER_DISCARDED
}
mtype = {
	HANDOVER_EV_BEGIN, HANDOVER_EV_PAUSE, HANDOVER_EV_ABORT, HANDOVER_EV_RELEASE, HANDOVER_EV_RETIRE, HANDOVER_EV_RECLAIM,
	HANDOVER_EV_LOADED, HANDOVER_EV_ACTIVATE, HANDOVER_EV_DISCARD
}
mtype = {
	WIRE_CMD_PACKAGED, WIRE_CMD_COMMIT, WIRE_CMD_POSTCOPY_RUN, WIRE_CMD_ASK, WIRE_CMD_ABORT, WIRE_CMD_SETTLED,
	WIRE_CMD_PRECOPY_RESUME, WIRE_SECTION_END,
	WIRE_RP_LOADED, WIRE_RP_ACTIVE, WIRE_RP_NOT_ACTIVE, WIRE_RP_INCOMPLETE, WIRE_RP_SHUT, WIRE_RP_PRECOPY_RESUMED
}

/* The two VMMs' decision pages, which outlive everything; and who lives. */
mtype source = HANDOVER_RUNNING;
mtype target = HANDOVER_EMPTY;
bool source_vmm = true, target_vmm = true;
bool source_worker, target_worker;
bool source_daemon_up = true, target_daemon_up = true;
bool source_reaped, target_reaped;	/* that process has ended: it may be succeeded */
bool source_host = true, target_host = true;
bool missing = POSTCOPY;	/* memory, at the target */
/* daemon/settle.c: the peer may wait for that side's word, and if its worker is gone a successor has to say it. */
bool source_peer_waits, target_peer_waits;
bool target_settled;		/* the target heard SETTLED, or that the source goes on */
bool source_told;		/* the target that the guest stays there, or it gave up telling */
bool told_in_vain;		/* that */

/* The connection. What is in flight when it breaks is lost. */
chan to_target = [3] of { mtype };
chan to_source = [3] of { mtype };
bool connected;
byte connection;	/* its number: a side knows by it that its own one is gone */

byte faults = FAULTS;
/* Why the source took a released guest back, and whether that is all right: the property below asks. */
bool not_active_heard, operator_said_run;

#define source_runs (source_vmm && (source == HANDOVER_RUNNING || source == HANDOVER_PRECOPY))
#define target_runs (target_vmm && target == HANDOVER_RUNNING)

/* The table of attach/handover.c: one line a move. */
inline move(state, event)
{
	if
	:: state == HANDOVER_RUNNING && event == HANDOVER_EV_BEGIN -> state = HANDOVER_PRECOPY
	:: state == HANDOVER_PRECOPY && event == HANDOVER_EV_PAUSE -> state = HANDOVER_PAUSED
	:: state == HANDOVER_PRECOPY && event == HANDOVER_EV_ABORT -> state = HANDOVER_RUNNING
	:: state == HANDOVER_PAUSED && event == HANDOVER_EV_ABORT -> state = HANDOVER_RUNNING
	:: state == HANDOVER_PAUSED && event == HANDOVER_EV_RELEASE -> state = HANDOVER_RELEASED
	:: state == HANDOVER_RELEASED && event == HANDOVER_EV_RETIRE -> state = HANDOVER_RETIRED
	:: state == HANDOVER_RELEASED && event == HANDOVER_EV_RECLAIM -> state = HANDOVER_RUNNING
	:: state == HANDOVER_EMPTY && event == HANDOVER_EV_BEGIN -> state = HANDOVER_INCOMING
	:: state == HANDOVER_INCOMING && event == HANDOVER_EV_LOADED -> state = HANDOVER_LOADED
	:: state == HANDOVER_LOADED && event == HANDOVER_EV_ACTIVATE -> state = HANDOVER_RUNNING
	:: state == HANDOVER_INCOMING && event == HANDOVER_EV_ABORT -> state = HANDOVER_DISCARDED
	:: state == HANDOVER_LOADED && event == HANDOVER_EV_ABORT -> state = HANDOVER_DISCARDED
	:: state == HANDOVER_EMPTY && event == HANDOVER_EV_DISCARD -> state = HANDOVER_DISCARDED
	:: state == HANDOVER_INCOMING && event == HANDOVER_EV_DISCARD -> state = HANDOVER_DISCARDED
	:: state == HANDOVER_LOADED && event == HANDOVER_EV_DISCARD -> state = HANDOVER_DISCARDED
	:: else -> assert(false)	/* such a move does not exist */
	fi
}

/* ---- the connection ---- */

inline flush(c)
{
	do
	:: c?_
	:: empty(c) -> break
	od
}

inline disconnect()
{
	d_step { flush(to_target); flush(to_source); connected = false }
}

#define broken(mine) (!connected || connection != mine)

/* The source's daemon connects, the target's worker listens: it needs no daemon. */
inline connect(mine)
{
	d_step { source_daemon_up && target_worker && broken(mine) -> flush(to_target); flush(to_source); connected = true; connection = connection % 3 + 1; mine = connection }
}

/* A full channel never is: each side has little to say before it is answered. What is said into a broken one is lost. */
inline send(c, mine, message)
{
	if
	:: atomic { !broken(mine) -> c!message }
	:: broken(mine)
	fi
}

/* What came over one's own connection, to M. */
#define hear(c, mine) atomic { !broken(mine) && nempty(c) -> c?m }

/* ---- the libraries: what they do when the worker is gone, or says nothing for the length of its lease ---- */

active proctype source_library()
{
end:	do
	:: atomic { !source_worker && source_vmm && (source == HANDOVER_PRECOPY || source == HANDOVER_PAUSED) ->
		move(source, HANDOVER_EV_ABORT) }
	od
}

active proctype target_library()
{
end:	do
	:: atomic { !target_worker && target_vmm && target == HANDOVER_INCOMING -> move(target, HANDOVER_EV_ABORT) }
	od
}

/* ---- the source's worker: engine/source.c, switchover.c, source-settle.c, postcopy-source.c ---- */

/* WORKER_MODE: SETTLE is the successor of one that was lost after RELEASE, ABORT of one that was lost before. */
#define FRESH 0
#define SETTLE 1
#define ABORT 2

proctype source_side(byte mode)
{
	mtype m;
	byte mine;
	byte patience = 2;	/* reconnect-timeout */

	{
		if
		:: mode == SETTLE -> goto doubt
		:: mode == ABORT -> goto end_tell
		:: else
		fi;
		atomic {
			if
			:: source_vmm -> move(source, HANDOVER_EV_BEGIN)
			:: else -> goto over
			fi
		}
connecting:
		if
		:: connect(mine)
		:: goto abort	/* in vain, or cancelled */
		fi;
passes:		/* over memory, while the guest runs. A lost connection is replaced (engine/reconnect.c), or it gives up. */
		if
		:: skip
		:: goto abort
		:: broken(mine) -> goto resume
		fi;
		atomic {
			if
			:: source_vmm -> move(source, HANDOVER_EV_PAUSE); source_peer_waits = true
			:: else -> goto over
			fi
		}
		send(to_target, mine, WIRE_CMD_PACKAGED);
		if
		:: hear(to_source, mine); assert(m == WIRE_RP_LOADED)
		:: broken(mine) -> goto abort
		:: goto abort	/* cancelled, or out of patience */
		fi;
		/* From here on only the target's word, or an operator's, brings the guest back. */
		atomic {
			if
			:: source_vmm && source == HANDOVER_PAUSED -> move(source, HANDOVER_EV_RELEASE)
			:: else -> goto over
			fi
		}
#if POSTCOPY
		send(to_target, mine, WIRE_CMD_POSTCOPY_RUN);
#else
		send(to_target, mine, WIRE_CMD_COMMIT);
#endif
		goto await;

resume:		if
		:: patience > 0 && target_worker -> patience--
		:: goto abort
		fi;
		if
		:: connect(mine)
		:: broken(mine) -> goto resume
		fi;
		send(to_target, mine, WIRE_CMD_PRECOPY_RESUME);
		if
		:: hear(to_source, mine); assert(m == WIRE_RP_PRECOPY_RESUMED); goto passes
		:: broken(mine) -> goto resume
		fi;

doubt:		/* engine/source-settle.c: find_out() */
		do
		:: connect(mine) -> break
		:: operator_said_run -> goto reclaim
		:: source == HANDOVER_RETIRED || source == HANDOVER_RUNNING || !source_vmm -> goto over
		od;
		send(to_target, mine, WIRE_CMD_ASK);
await:
		if
		:: hear(to_source, mine);
			if
			:: m == WIRE_RP_ACTIVE && !POSTCOPY -> goto retire
			:: m == WIRE_RP_ACTIVE && POSTCOPY -> goto pages
			:: m == WIRE_RP_INCOMPLETE -> goto pages
			:: m == WIRE_RP_SHUT -> goto retire
			:: m == WIRE_RP_NOT_ACTIVE -> not_active_heard = true; goto reclaim
			:: else -> assert(false)	/* a message that is not due */
			fi
		:: broken(mine) -> goto doubt
		fi;

pages:		/* post-copy: the guest runs over there and needs what is here */
		if
		:: source_vmm -> send(to_target, mine, WIRE_SECTION_END)
		:: !source_vmm -> goto over	/* its memory is lost, and with it the guest */
		fi;
		goto await;

retire:		atomic {
			if
			:: source_vmm && source == HANDOVER_RELEASED -> move(source, HANDOVER_EV_RETIRE)
			:: else
			fi
		}
		goto last_word;

reclaim:	atomic {
			if
			:: source_vmm && source == HANDOVER_RELEASED ->
				assert(not_active_heard || operator_said_run);
				move(source, HANDOVER_EV_RECLAIM)
			:: else
			fi
		}
		if
		:: operator_said_run -> source_peer_waits = true; goto end_tell
		:: else
		fi;

last_word:	/* source_tell_last_word(): until the target, which keeps its answer till then, is gone */
		do
		:: !broken(mine) -> send(to_target, mine, WIRE_CMD_SETTLED); broken(mine)
		:: broken(mine) && target_settled -> goto over
		:: broken(mine) && !target_settled ->
			if
			:: connect(mine)
			:: goto over	/* for as long as it is patient */
			fi
		od;

abort:		atomic {
			if
			:: source_vmm && (source == HANDOVER_PRECOPY || source == HANDOVER_PAUSED) -> move(source, HANDOVER_EV_ABORT)
			:: else
			fi
		}
		if
		:: !source_peer_waits -> goto over
		:: else
		fi;
end_tell:	/* source_tell_abort(): the target must not wait for ever */
		do
		:: !broken(mine) -> break
		:: connect(mine) -> break
		:: atomic { broken(mine) -> source_told = true; told_in_vain = true }; goto over	/* for as long as it is patient */
		od;
		send(to_target, mine, WIRE_CMD_ABORT);
		do
		:: hear(to_source, mine);
			if
			:: m == WIRE_RP_NOT_ACTIVE -> source_told = true; goto over
			:: else	/* LOADED, that crossed it */
			fi
		:: broken(mine) -> goto end_tell
		od;
		/* Its outcome is for the daemon: the next one, if there is none (engine/control.c). */
over:		atomic { source_daemon_up -> disconnect(); source_worker = false }
	} unless { !source_worker -> source_reaped = true }
}

/* ---- the target's worker: engine/target.c, target-settle.c, postcopy-target.c ---- */

/* decide(): what nobody activated is discarded now; a VMM that is gone activates nothing. */
inline decide()
{
	atomic {
		if
		:: target_vmm && (target == HANDOVER_LOADED || target == HANDOVER_INCOMING) -> move(target, HANDOVER_EV_ABORT)
		:: else
		fi
	}
}

inline answer_ask()
{
	decide();
	if
	:: target == HANDOVER_RUNNING && missing -> send(to_source, mine, WIRE_RP_INCOMPLETE)
	:: target == HANDOVER_RUNNING && !missing ->
#if POSTCOPY
		send(to_source, mine, WIRE_RP_SHUT)
#else
		send(to_source, mine, WIRE_RP_ACTIVE)
#endif
	:: else -> told = true; send(to_source, mine, WIRE_RP_NOT_ACTIVE)
	fi
}

/* Once, and again if the answer was lost; not after NOT_ACTIVE. */
inline answer_commit()
{
	atomic {
		if
		:: target_vmm && target == HANDOVER_LOADED && !told -> move(target, HANDOVER_EV_ACTIVATE)
		:: else
		fi
	}
	if
	:: target == HANDOVER_RUNNING && !told -> send(to_source, mine, WIRE_RP_ACTIVE)
	:: else -> disconnect()
	fi
}

proctype target_side(byte mode)
{
	mtype m;
	byte mine;
	bool told;	/* that it never will run here */

	{
		if
		:: mode == SETTLE -> goto end_settling
		:: mode == ABORT -> told = true; goto end_settling
		:: else
		fi;
end_waiting:	(connected) -> mine = connection;
		atomic {
			if
			:: target_vmm && target == HANDOVER_EMPTY -> move(target, HANDOVER_EV_BEGIN)
			:: else -> goto over
			fi
		}
receiving:
		if
		:: hear(to_target, mine);
			if
			:: m == WIRE_CMD_PACKAGED -> goto load
			:: m == WIRE_CMD_PRECOPY_RESUME -> send(to_source, mine, WIRE_RP_PRECOPY_RESUMED); goto receiving
			:: m == WIRE_CMD_ASK -> answer_ask(); goto end_settling
			:: m == WIRE_CMD_ABORT -> decide(); told = true; send(to_source, mine, WIRE_RP_NOT_ACTIVE); goto end_settling
			:: else -> goto lost
			fi
		:: broken(mine) ->
			if
			:: connected -> mine = connection; goto receiving	/* the source came back */
			:: goto lost	/* it did not, for the length of reconnect-timeout */
			fi
		fi;
lost:		atomic {
			if
			:: target_vmm && target == HANDOVER_INCOMING -> move(target, HANDOVER_EV_ABORT)
			:: else
			fi
		}
		goto end_settling;
load:		/* The package: from here on the source may ask, or tell. */
		target_peer_waits = true;
		atomic {
			if
			:: target_vmm && target == HANDOVER_INCOMING -> move(target, HANDOVER_EV_LOADED)
			:: else -> goto over
			fi
		}
		send(to_source, mine, WIRE_RP_LOADED);
end_settling:	do
		:: broken(mine) && connected -> mine = connection
		:: hear(to_target, mine);
			if
			:: m == WIRE_CMD_COMMIT || m == WIRE_CMD_POSTCOPY_RUN -> answer_commit()
			:: m == WIRE_CMD_ASK -> answer_ask()
			:: m == WIRE_CMD_ABORT ->
				decide();
				if
				:: target == HANDOVER_RUNNING -> disconnect()
				:: else -> told = true; target_settled = true; send(to_source, mine, WIRE_RP_NOT_ACTIVE); goto over
				fi
			:: m == WIRE_SECTION_END -> missing = false; send(to_source, mine, WIRE_RP_SHUT)
			:: m == WIRE_CMD_SETTLED -> target_settled = true; goto over
			:: m == WIRE_CMD_PRECOPY_RESUME || m == WIRE_CMD_PACKAGED -> disconnect()	/* too late */
			fi
		od;
over:		atomic { target_daemon_up -> disconnect(); target_worker = false }
	} unless { !target_worker -> target_reaped = true }
}

/* ---- the daemons: a worker that is missing is succeeded (daemon/settle.c) ---- */

active proctype source_daemon()
{
end_new: atomic { source_host && source_daemon_up -> source_worker = true; run source_side(FRESH) }
end:	do
	:: atomic { source_reaped && source_host && source_daemon_up && source == HANDOVER_RELEASED && source_vmm ->
		source_reaped = false; source_worker = true; run source_side(SETTLE) }
	:: atomic { source_reaped && source_host && source_daemon_up && source == HANDOVER_RUNNING && source_vmm && source_peer_waits &&
		!source_told -> source_reaped = false; source_worker = true; run source_side(ABORT) }
	od
}

active proctype target_daemon()
{
end_new: atomic { target_host && target_daemon_up -> target_worker = true; run target_side(FRESH) }
end:	do
	/* Also of one that is decided: the source may not know, and asks. */
	:: atomic { target_reaped && target_host && target_daemon_up && !target_settled && target_peer_waits &&
		(target == HANDOVER_RUNNING || (target == HANDOVER_LOADED && target_vmm)) ->
		target_reaped = false; target_worker = true; run target_side(SETTLE) }
	/* Nobody can activate it any more: the VMM is not needed. */
	:: atomic { target_reaped && target_host && target_daemon_up && !target_settled && target_peer_waits &&
		(target == HANDOVER_DISCARDED || (target != HANDOVER_RUNNING && !target_vmm)) ->
		target_reaped = false; target_worker = true; run target_side(ABORT) }
	od
}

/* ---- what goes wrong ---- */

active proctype faulty()
{
end:	do
	:: atomic { faults > 0 && connected -> faults--; disconnect() }
	:: atomic { faults > 0 && source_worker -> faults--; source_worker = false; disconnect() }
	:: atomic { faults > 0 && target_worker -> faults--; target_worker = false; disconnect() }
	:: atomic { faults > 0 && source_daemon_up -> faults--; source_daemon_up = false }
	:: atomic { faults > 0 && target_daemon_up -> faults--; target_daemon_up = false }
	:: atomic { faults > 0 && source_vmm -> faults--; source_vmm = false }
	:: atomic { faults > 0 && target_vmm -> faults--; target_vmm = false }
#if HOSTS
	:: atomic { faults > 0 && source_host -> faults = 0; source_host = false; source_vmm = false; source_worker = false; disconnect() }
	:: atomic { faults > 0 && target_host -> faults = 0; target_host = false; target_vmm = false; target_worker = false; disconnect() }
#endif
	od
}

/* ---- the service manager: a daemon that died is followed by the next (daemon/adopt.c) ---- */

active proctype source_restart()
{
end:	do
	:: source_host && !source_daemon_up -> source_daemon_up = true
	od
}

active proctype target_restart()
{
end:	do
	:: target_host && !target_daemon_up -> target_daemon_up = true
	od
}

/* ---- the operator: migrate-resolve, once the other side was made sure of ---- */

active proctype operator()
{
end:	do
	:: atomic { !target_host && source_daemon_up && source_vmm && source == HANDOVER_RELEASED -> operator_said_run = true;
		if
		:: !source_worker -> move(source, HANDOVER_EV_RECLAIM)
		:: else
		fi }
	/* The source's VMM is gone, and its guest with it, or given away; nobody is left who could say so. */
	:: atomic { (!source_host || (source == HANDOVER_RELEASED && !source_vmm && !source_worker)) &&
		target_daemon_up && target_vmm && target == HANDOVER_LOADED ->
		if
		:: !POSTCOPY -> move(target, HANDOVER_EV_ACTIVATE)
		:: move(target, HANDOVER_EV_ABORT)
		fi }
	/* A source that has its guest back, or had, and whose workers told the target so in vain; or nobody is left who could. */
	:: atomic { source != HANDOVER_RELEASED && !source_worker && (!source_vmm || (source == HANDOVER_RUNNING && told_in_vain)) &&
		target_daemon_up && target_vmm && target == HANDOVER_LOADED -> move(target, HANDOVER_EV_ABORT) }
	od
}

/* Both sides never run. */
ltl one_side { [] !(source_runs && target_runs) }

/* Nobody waits for ever once nothing goes wrong any more: each side runs, has given up its guest, or is gone. */
#define source_done (!source_vmm || source == HANDOVER_RUNNING || source == HANDOVER_RETIRED)
#define target_done (!target_vmm || target == HANDOVER_RUNNING || target == HANDOVER_DISCARDED || target == HANDOVER_EMPTY)
ltl way_out { <> [] (source_done && target_done) }
/* The same where nothing moves any more, which spin does not see beside fairness. */
active proctype standstill()
{
end:	timeout -> assert(source_done && target_done)
}

/* Nothing is lost while a VMM that had it lives: then it runs on one side. */
#define guest_is_somewhere (source_runs || target_runs || !source_vmm || !target_vmm)
ltl not_lost { <> [] guest_is_somewhere }
