/* SPDX-License-Identifier: Apache-2.0 */
/* The serial line, written by polling: a payload prints a line or two in its life. */
#ifndef MIGD_VMM_PAYLOADS_SERIAL_H
#define MIGD_VMM_PAYLOADS_SERIAL_H

void serial_open(void);
/*
 * The text and a line end, from any vCPU; lines of two vCPUs do not mix. Not for interrupt
 * handlers.
 */
void serial_line(const char *text);

#endif
