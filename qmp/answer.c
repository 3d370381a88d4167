/* SPDX-License-Identifier: Apache-2.0 */
/* Objects for the wire: greeting, errors, events. QMP.md 1.2, 1.5, 1.7. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "qmp/internal.h"
#include "schema/types.h"
#include "schema/value.h"

json_t *qmp_version(const struct qmp_server_options *options)
{
	struct version_info info = {
		.qemu = { options->major, options->minor, options->micro },
		.package = (char *)(uintptr_t)options->package,
	};

	return version_info_to_json(&info);
}

json_t *qmp_greeting(const struct qmp_server_options *options)
{
	return json_pack("{s:{s:o, s:[s]}}", "QMP", "version", qmp_version(options), "capabilities",
			 "oob");
}

const char *qmp_error_class_name(enum merr_class class)
{
	static const char *const names[] = {
		[MERR_NONE] = "GenericError",
		[MERR_GENERIC] = "GenericError",
		[MERR_COMMAND_NOT_FOUND] = "CommandNotFound",
		[MERR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
		[MERR_DEVICE_NOT_FOUND] = "DeviceNotFound",
		[MERR_KVM_MISSING_CAP] = "KVMMissingCap",
	};

	return (size_t)class < ARRAY_SIZE(names) ? names[class] : names[MERR_GENERIC];
}

json_t *qmp_error_object(const struct merr *err)
{
	return json_pack("{s:{s:s, s:o}}", "error", "class", qmp_error_class_name(err->class), "desc",
			 json_text(merr_msg(err), SIZE_MAX));
}

json_t *qmp_event_object(const char *name, json_t *data)
{
	json_t *event = json_pack("{s:s}", "event", name);
	uint64_t now_us = clock_wall_ns() / NS_PER_US;

	if (!event)
		return NULL;
	if ((data && json_object_set(event, "data", data) < 0) ||
	    json_object_set_new(event, "timestamp",
				json_pack("{s:I, s:I}", "seconds", (json_int_t)(now_us / 1000000),
					  "microseconds", (json_int_t)(now_us % 1000000))) < 0) {
		json_decref(event);
		return NULL;
	}
	return event;
}
