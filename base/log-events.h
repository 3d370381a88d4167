/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's MESSAGE_ID of each main event. They never change: programs and systemd/migd.catalog, which explains each, know
 * them; so does docs/logging.md.
 */
#ifndef MIGD_BASE_LOG_EVENTS_H
#define MIGD_BASE_LOG_EVENTS_H

#define LOG_EVENT_STARTED              "f45bf75489239750f4fbedbc8189a4f5" /* the daemon serves clients and VMMs */
#define LOG_EVENT_GUEST_ATTACHED       "6e06ad90823b081b84623228c8083d3a" /* a VMM registered its guest */
#define LOG_EVENT_GUEST_DETACHED       "76aebeec1ff200126174b32908165803" /* a VMM's connection ended */
#define LOG_EVENT_VMM_REFUSED          "16da98e23ddd104df98ad4d99132b252" /* a VMM was not let in */
#define LOG_EVENT_MIGRATION_STARTED    "acffd1b062b2e4c8705f5756e42eadc8" /* a migration began, or waits for its turn */
#define LOG_EVENT_MIGRATION_COMPLETED  "d930c1ef3f37763a382307ad520412a5" /* the guest moved, or was saved */
#define LOG_EVENT_MIGRATION_FAILED     "b262817f209b5433a0f1e63396006a96" /* a migration failed */
#define LOG_EVENT_MIGRATION_CANCELLED  "1ac4042565570e868734b43a10290d2a" /* a migration was cancelled */
#define LOG_EVENT_MIGRATION_PAUSED     "96b9cef341b548db5705915e8a45b63e" /* post-copy lost its connection or worker */
#define LOG_EVENT_HANDOVER_IN_DOUBT    "7d8690196ceeb4f76675ecd92fce190b" /* nobody runs the guest until the peer or an operator says so */
#define LOG_EVENT_MIGRATION_TAKEN_OVER "dd3b61a45239a225360bbb2caa3b70cf" /* a former daemon's migration goes on */
#define LOG_EVENT_WORKER_DIED          "14b26214bbc9d54c55fc6f5d55176624" /* a worker ended without its last word */
#define LOG_EVENT_AUDIT                "16a277535b4bcfec976b8f90a03f2d22" /* a client's command */

#endif
