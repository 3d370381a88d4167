/* SPDX-License-Identifier: Apache-2.0 */
/* What is at the other end of a stream, and so what may be in it. */
#ifndef MIGD_ENGINE_PEER_H
#define MIGD_ENGINE_PEER_H

enum peer_kind {
	PEER_MIGD = 0,	/* answered with a HELLO: the two-phase handover, one package */
	PEER_QEMU,	/* a return path, but no HELLO: FULL sections as they are, the end of the stream is the commit */
	PEER_NONE,	/* no return path: a file, a pipe, a command. As PEER_QEMU, and nobody answers */
};

#endif
