/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of the kernel's. */
#ifndef MIGD_CTL_DOCTOR_FILES_H
#define MIGD_CTL_DOCTOR_FILES_H

#include <stddef.h>
#include <stdint.h>

/* The first line of a file. Returns BUF; "" if it cannot be read. */
const char *doctor_read_line(const char *path, char *buf, size_t len);

/* The number behind KEY in a file of lines "KEY: NUMBER", such as /proc/meminfo; -1: it is not there. */
int64_t doctor_read_number(const char *path, const char *key);

#endif
