/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of 8259A interrupt controllers; the public part is in irq.h. */
#ifndef MIGD_VMM_PAYLOADS_PIC_H
#define MIGD_VMM_PAYLOADS_PIC_H

#define PIC_LINES 16

/* Vectors from VECTOR_PIC on, all lines masked. */
void pic_open(void);
void pic_end(unsigned int line);

#endif
