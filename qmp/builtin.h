/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that are answered here: negotiation, version, list of commands, introspection. */
#ifndef MIGD_QMP_BUILTIN_H
#define MIGD_QMP_BUILTIN_H

#include "qmp/server.h"

/* Generated; ended by a row without a name. */
extern const struct qmp_command qmp_builtin_commands[];

#endif
