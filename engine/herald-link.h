/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heralds: processes that tell another host's migd which guest is about to come, or hear it from one. Each has one connection
 * to a shared port, and ends with it. What a stranger says there is read by nobody else: it is bounded, has its deadline, and
 * its form is checked before the daemon sees it (docs/evacuation.md, "On the wire").
 *
 *   daemon -> herald   HERALD_START   {} + a memfd     HeraldStart
 *                      CONNECTION     {} + the connection
 *                      TLS            {} + a memfd     WorkerTls, if START says so
 *                      SIGNED         WorkerSigned
 *                      AUTHORIZED     WorkerAuthorized
 *                      HERALD_ANSWER  HeraldAnswer     hearing: to be passed on, after which the herald ends
 *   herald -> daemon   SIGN           WorkerSign
 *                      AUTHORIZE      WorkerAuthorize
 *                      HERALD_SAYS    {} + a memfd     GuestDescription: hearing: what was announced
 *                      HERALD_HEARD   HeraldAnswer     announcing: what came of it: the last word
 *
 * The first two or three come at once, in this order. The link is the worker's (engine/link.h) but for what it carries; a herald
 * has no successor daemon: it ends with its own.
 */
#ifndef MIGD_ENGINE_HERALD_LINK_H
#define MIGD_ENGINE_HERALD_LINK_H

/* Of a description, on the wire and on the link. */
#define HERALD_DESCRIPTION_MAX (128U << 10)
/* To say it all, from the connection's beginning; then so long may nothing be heard from who is to answer. */
#define HERALD_TIMEOUT_MS 10000U
#define HERALD_SILENCE_MS 30000U
#define HERALD_WAIT_MS	  3000U	/* between two words that the answer is still to come */

/* Answers, beside WIRE_RP_ERROR and framed as it is: be16 type, be16 length, payload. */
enum herald_word {
	HERALD_WAIT = 0x4d21,	/* empty: more is to come */
	HERALD_READY = 0x4d22,	/* empty: the guest can come */
};

/* The herald's main(): called by the executable's main() when argv[0] is "migd-herald". Returns the exit status. */
#define HERALD_ARGV0 "migd-herald"
int herald_main(void);

#endif
