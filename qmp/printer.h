/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as QMP servers write it: one line, pure ASCII, separators ", " and ": ". QMP.md 1.1. */
#ifndef MIGD_QMP_PRINTER_H
#define MIGD_QMP_PRINTER_H

#include <jansson.h>

#include "base/buf.h"

/* Append V to OUT (see buf's `error`). Numbers of schema/value.h are written as numbers. */
void qmp_print(struct buf *out, const json_t *v);

#endif
