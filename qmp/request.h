/* SPDX-License-Identifier: Apache-2.0 */
/* A request's form: {"execute": ..., "arguments": ..., "id": ...}. QMP.md 1.3. */
#ifndef MIGD_QMP_REQUEST_H
#define MIGD_QMP_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* All are references into the request's object. */
struct qmp_request {
	const char *command;
	bool oob;
	json_t *arguments;	/* or NULL */
	json_t *id;		/* or NULL; also after a failure */
};

/* -EINVAL with ERR; RET's id is set all the same if there is one. ALLOW_OOB: exec-oob is known. */
int qmp_request_check(json_t *object, bool allow_oob, struct qmp_request *ret, struct merr *err);

#endif
