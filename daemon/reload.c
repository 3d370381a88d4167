/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration changes while the daemon runs. */
#include "daemon/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/access.h"
#include "daemon/config-source.h"
#include "daemon/config-value.h"
#include "daemon/control-plane.h"
#include "daemon/daemon.h"
#include "daemon/host.h"
#include "daemon/json.h"
#include "daemon/metrics-http.h"
#include "daemon/object-watch.h"
#include "daemon/object.h"
#include "daemon/supervisor.h"
#include "qmp/server.h"
#include "schema/commands.h"

/* ---- who has to be told; others read D->config whenever they need it ---- */

int reload_log_level(const char *level, struct merr *err)
{
	int n = log_level_parse(level);
	char text[16];

	if (n < 0)
		return merr_set(err, -EINVAL,
				"there is no log level '%.60s'; there are emerg, alert, crit, err, warning, notice, info and debug",
				level);
	log_set_level(n);
	/* For workers: log_init_child(). */
	(void)snprintf(text, sizeof(text), "%d", n);
	(void)setenv("MIGD_LOG_LEVEL", text, 1);
	return 0;
}

static void review_log_level(struct daemon *d, const struct config *before)
{
	if (strcmp(d->config.daemon.log_level, before->daemon.log_level) != 0)
		(void)reload_log_level(d->config.daemon.log_level, NULL);
}

/* Also if the lists are the same: the host's users may not be. */
static void review_access(struct daemon *d, const struct config *before)
{
	struct merr err = MERR_INIT;

	(void)before;
	if (access_load(d, &err) < 0)
		log_err("%s; who may do what stays as it was", merr_msg(&err));
}

static void review_plane(struct daemon *d, const struct config *before)
{
	(void)before;
	plane_set_limits(d);
}

static void review_host(struct daemon *d, const struct config *before)
{
	(void)before;
	host_reconfigured(d);
}

static void review_metrics(struct daemon *d, const struct config *before)
{
	struct merr err = MERR_INIT;

	if (strcmp(d->config.metrics.listen, before->metrics.listen) == 0)
		return;
	d->metrics_http = metrics_http_free(d->metrics_http);
	if (metrics_http_open(d, &d->metrics_http, &err) < 0)
		log_err("metrics are served nowhere: %s", merr_msg(&err));
}

static void (*const listeners[])(struct daemon *d, const struct config *before) = {
	review_log_level,
	review_access,
	review_plane,
	review_host,
	review_metrics,
};

/* ---- taking it ---- */

static bool differs(const struct config *a, const struct config *b, struct config_key k)
{
	_cleanup_json_ json_t *x = config_get(a, k), *y = config_get(b, k);

	return !json_equal(x, y);
}

static void log_change(const struct config *c, struct config_key k)
{
	_cleanup_json_ json_t *value = config_get(c, k);
	char text[CONFIG_VALUE_TEXT_MAX];

	if (k.key->restart)
		log_warning("the configuration changed, but this holds from migd's next start on: [%s] %s", k.section->name,
			    k.key->name);
	else
		log_notice("the configuration changed: [%s] %s = %s", k.section->name, k.key->name,
			   value ? config_value_print(value, text) : "");
}

/* What is wanted, but for what has to wait. -ENOMEM: RET is all zero. */
static int make_next(const struct daemon *d, struct config *ret)
{
	const struct config *wanted = &d->config_source->wanted;
	int r = config_copy(ret, wanted);

	for (struct config_key k = { 0 }; r == 0 && config_next_key(&k);) {
		if (!differs(wanted, &d->config, k))
			continue;
		log_change(wanted, k);
		if (k.key->restart)
			r = config_copy_key(ret, &d->config, k);
	}
	if (r < 0)
		config_done(ret);
	return r;
}

static int reload(struct daemon *d, struct config_report *report)
{
	struct config before = d->config, next = { 0 };
	int r = config_source_load(d->config_source, report);

	if (r < 0)
		return r;
	if (make_next(d, &next) < 0) {
		config_report_add(report, "migd.conf", 0, "out of memory");
		return -ENOMEM;
	}
	d->config = next;
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++)
		listeners[i](d, &before);
	config_done(&before);
	return 0;
}

static void log_line(const char *line)
{
	log_err("%s", line);
}

static int reload_and_tell(struct daemon *d, struct config_report *report)
{
	int r;

	supervisor_reloading(d->supervisor);
	log_info("reading the configuration, and looking for changed files of objects");
	r = reload(d, report);
	config_report_each(report, log_line);
	if (r < 0)
		log_err("the configuration stays as it was: it is not taken before all of it is right");
	else
		log_info("the configuration was read again");
	objects_refresh(d->objects);
	object_watch_update(d->object_watch);
	supervisor_ready(d->supervisor);
	return r;
}

void reload_on_signal(struct daemon *d)
{
	struct config_report report = { 0 };

	(void)reload_and_tell(d, &report);
	config_report_done(&report);
}

/* ---- shown ---- */

static bool is_given(const struct host_parameters *given, struct config_key k)
{
	_cleanup_json_ json_t *o = host_parameters_to_json(given);

	return strcmp(k.section->name, "host") == 0 && json_object_get(o, k.key->name);
}

static json_t *describe_setting(const struct daemon *d, struct config_key k)
{
	const struct config_source *s = d->config_source;
	_cleanup_json_ json_t *by_option = config_get(s->options, k);
	unsigned int line = by_option ? 0 : config_file_line(&s->file, k);
	struct config_setting setting = {
		.section = (char *)(uintptr_t)k.section->name,
		.key = (char *)(uintptr_t)k.key->name,
	};

	if (is_given(&d->host_given, k)) {
		setting.origin = CONFIG_ORIGIN_QMP;
	} else if (by_option) {
		setting.origin = CONFIG_ORIGIN_COMMAND_LINE;
	} else if (line) {
		setting.origin = CONFIG_ORIGIN_FILE;
		setting.has_line = true;
		setting.line = line;
	} else {
		return NULL;
	}
	return config_setting_to_json(&setting);
}

/* Shown are D->host's values, which are those of query-host-parameters. */
static json_t *describe(const struct daemon *d)
{
	struct config shown = d->config;
	json_t *settings = json_array(), *waiting = json_array(), *setting;

	shown.host = d->host;
	for (struct config_key k = { 0 }; config_next_key(&k);) {
		setting = describe_setting(d, k);
		if (setting)
			(void)json_array_append_new(settings, setting);
		if (differs(&d->config, &d->config_source->wanted, k))
			(void)json_array_append_new(waiting, json_sprintf("%s.%s", k.section->name, k.key->name));
	}
	return json_pack("{s:s*, s:o, s:o, s:o, s:s, s:s}", "file", d->config_source->path, "config", config_to_json(&shown),
			 "settings", settings, "waiting", waiting, "log-level", log_level_str(log_level()),
			 "metrics-address", metrics_http_address(d->metrics_http));
}

void cmd_query_config(struct qmp_call *call, const struct query_config_args *args)
{
	(void)args;
	qmp_return(call, describe(qmp_call_opaque(call)));
}

void cmd_reload_config(struct qmp_call *call, const struct reload_config_args *args)
{
	struct daemon *d = qmp_call_opaque(call);
	struct config_report report = { 0 };
	struct merr err = MERR_INIT;

	(void)args;
	if (reload_and_tell(d, &report) < 0) {
		(void)config_report_to_err(&report, &err);
		qmp_fail(call, &err);
	} else {
		qmp_return(call, describe(d));
	}
	config_report_done(&report);
}

void cmd_set_log_level(struct qmp_call *call, const struct set_log_level_args *args)
{
	struct merr err = MERR_INIT;

	qmp_answer(call, reload_log_level(args->level, &err), &err);
}
