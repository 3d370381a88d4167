/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics over HTTP, at [metrics] listen of the configuration: GET /metrics, and GET /healthz, which says that the event loop
 * turns. One request a connection; how many there are, how long each lasts, and what it may send are limited, so that no
 * client holds up or fills the daemon.
 */
#ifndef MIGD_DAEMON_METRICS_HTTP_H
#define MIGD_DAEMON_METRICS_HTTP_H

#include "base/err.h"

struct daemon;
struct metrics_http;

/* Serve where D->config says, into *RET; NULL: nowhere. -errno with ERR. */
int metrics_http_open(struct daemon *d, struct metrics_http **ret, struct merr *err);
struct metrics_http *metrics_http_free(struct metrics_http *h);

/* Where it really listens: unix:PATH, or tcp:HOST:PORT with the port it got; "" if H is NULL. */
const char *metrics_http_address(const struct metrics_http *h);

#endif
