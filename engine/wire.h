/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the stream: QEMU's (WIRE.md), and those that only two migds use between themselves once they have
 * recognised each other (engine/hello.h). Big-endian throughout.
 */
#ifndef MIGD_ENGINE_WIRE_H
#define MIGD_ENGINE_WIRE_H

#include <stdint.h>

/* The first two bytes of what TLS says first, and of an alert (RFC 8446, 5.1): no stream, and no return path, begins so. */
#define WIRE_TLS_HANDSHAKE 0x1603
#define WIRE_TLS_ALERT 0x1503

#define WIRE_MAGIC 0x5145564dU	/* "QEVM" */
#define WIRE_VERSION 3U
#define WIRE_MACHINE_NAME "none"	/* what `qemu -M none` calls itself */
#define WIRE_NAME_MAX 255U		/* idstr, block and machine names */
#define WIRE_PAGE_SIZE 4096U
#define WIRE_MULTIFD_MAGIC 0x11223344U	/* of a multifd channel's first packet, and of every other (WIRE.md 5) */
#define WIRE_PAGE_MASK (~(uint64_t)(WIRE_PAGE_SIZE - 1))

enum wire_section {
	WIRE_EOF = 0x00,
	WIRE_SECTION_START = 0x01,
	WIRE_SECTION_PART = 0x02,
	WIRE_SECTION_END = 0x03,
	WIRE_SECTION_FULL = 0x04,
	WIRE_SUBSECTION = 0x05,		/* in a body only */
	WIRE_VMDESCRIPTION = 0x06,
	WIRE_CONFIGURATION = 0x07,
	WIRE_COMMAND = 0x08,
	WIRE_FOOTER = 0x7e,
};

#define WIRE_RAM_IDSTR "ram"
#define WIRE_RAM_VERSION 4U

enum wire_ram_flag {
	WIRE_RAM_ZERO = 0x002,
	WIRE_RAM_MEM_SIZE = 0x004,
	WIRE_RAM_PAGE = 0x008,
	WIRE_RAM_EOS = 0x010,
	WIRE_RAM_CONTINUE = 0x020,
	WIRE_RAM_XBZRLE = 0x040,	/* u8 1, be16 n, n bytes: engine/xbzrle.h */
	/*
	 * Between migds, feature HELLO_FEATURE_RESUME: the address' bits, shifted down, are a number (be32 at most), to be
	 * answered by PONG once all before it is in memory.
	 */
	WIRE_RAM_MARK = 0x100,
	WIRE_RAM_MULTIFD_FLUSH = 0x200,	/* a sync point of multifd's channels (WIRE.md 3.4) */
	/*
	 * Between migds, feature HELLO_FEATURE_RUNS, beside PAGE or ZERO: the block's name (unless CONTINUE) is followed
	 * by be32 n, 1..WIRE_RUN_PAGES_MAX, and the record stands for n pages from the address on: n * 4096 bytes
	 * follow for PAGE, nothing (no fill byte either) for ZERO.
	 */
	WIRE_RAM_RUN = 0x400,
	/* Between migds, feature HELLO_FEATURE_POISON, with RUN always: these pages are damaged, and are to be so there. */
	WIRE_RAM_POISON = 0x800,
};

#define WIRE_PAGE_SHIFT 12

/* 1 GiB: bounds what one record can ask of a receiver, and never the size of a sender's runs. */
#define WIRE_RUN_PAGES_MAX 262144U

/* Commands, source to destination: be16 number, be16 length, payload. */
enum wire_command {
	WIRE_CMD_OPEN_RETURN_PATH = 1,
	WIRE_CMD_PING = 2,
	WIRE_CMD_POSTCOPY_ADVISE = 3,	/* nothing, or be64 all blocks' page sizes or'ed, be64 WIRE_PAGE_SIZE */
	WIRE_CMD_POSTCOPY_LISTEN = 4,
	WIRE_CMD_POSTCOPY_RUN = 5,	/* between migds alone, as the commit */
	WIRE_CMD_POSTCOPY_RAM_DISCARD = 6, /* u8 0, str8 block, u8 0, n times be64 start, be64 length */
	WIRE_CMD_PACKAGED = 7,
	WIRE_CMD_POSTCOPY_RESUME = 9,	/* recovery is agreed on: answered by RESUME_ACK */
	WIRE_CMD_RECV_BITMAP = 10,	/* str8 block: which pages are there? */
	WIRE_CMD_SWITCHOVER_START = 11,
	/* Between migds. */
	WIRE_CMD_HELLO = 0x4d01,	/* be16 version, be64 features, id handover, str8 guest */
	WIRE_CMD_CONFIG = 0x4d02,	/* the guest's description, as the library made it */
	WIRE_CMD_COMMIT = 0x4d03,	/* id */
	WIRE_CMD_ASK = 0x4d04,		/* id: which side runs? */
	WIRE_CMD_ABORT = 0x4d06,	/* id: the source goes on with its guest after all; answered by NOT_ACTIVE */
	WIRE_CMD_PRECOPY_RESUME = 0x4d0a, /* id: a connection was lost while the guest runs here; go on where it broke */
	WIRE_CMD_CPR_RAM = 0x4d10,	/* for each RAM block str8 name, be64 length, offset, device, inode: engine/cpr.h */
	WIRE_CMD_PREFLIGHT = 0x4d08,	/* u8 1: compare only; u8 n, n str8: the source's capabilities. Before CONFIG */
	WIRE_CMD_SETTLED = 0x4d05,	/* id: the source knows, and acted on it; nothing will be asked any more */
};

/* Return path, destination to source: be16 type, be16 length, payload. */
enum wire_reply {
	WIRE_RP_SHUT = 1,		/* be32 0 or error */
	WIRE_RP_PONG = 2,		/* be32 */
	WIRE_RP_REQ_PAGES_ID = 3,	/* be64 start, be32 length, str8 block: somebody waits for these */
	WIRE_RP_REQ_PAGES = 4,		/* be64 start, be32 length; of the block that was named last */
	WIRE_RP_RECV_BITMAP = 5,	/* str8 block; then, not counted: be64 size, bitmap, be64 WIRE_BITMAP_END */
	WIRE_RP_RESUME_ACK = 6,		/* be32 1 */
	WIRE_RP_SWITCHOVER_ACK = 7,	/* empty */
	/* Between migds. */
	WIRE_RP_HELLO = 0x4d01,		/* be16 version, be64 features; ahead of the PONG */
	WIRE_RP_CONFIG_OK = 0x4d02,
	WIRE_RP_ERROR = 0x4d03,		/* text */
	WIRE_RP_LOADED = 0x4d04,	/* id, be64 load µs */
	WIRE_RP_ACTIVE = 0x4d05,	/* id, be64 resume µs */
	WIRE_RP_MISMATCH = 0x4d08,	/* str8 subject, source, target, advice: engine/preflight.h */
	WIRE_RP_PREFLIGHT = 0x4d09,	/* be32 how many mismatches there are, those not told included */
	WIRE_RP_INCOMPLETE = 0x4d0b,	/* id: to ASK: it runs here, and pages of post-copy are missing */
	WIRE_RP_PRECOPY_RESUMED = 0x4d0a, /* id, u8 1: all STARTs came; 0: all are to be sent again. To PRECOPY_RESUME */
	WIRE_RP_NOT_ACTIVE = 0x4d06,	/* id: and it never will be */
};

#define WIRE_BITMAP_END 0x0123456789abcdefULL	/* behind a RECV_BITMAP */
/*
 * Between migds the urgent channel of postcopy-preempt begins with this and the handover id. Towards a QEMU it begins with
 * the first page record (WIRE.md 7.4).
 */
#define WIRE_PREEMPT_MAGIC 0x4d504d52U
#define WIRE_RP_LEN_MAX 1024U
#define WIRE_PING_MIGD 0x6d696764U	/* "migd": asks for a HELLO */

#define WIRE_GLOBALSTATE_IDSTR "globalstate"
#define WIRE_GLOBALSTATE_LEN 104U
#define WIRE_RUNSTATE_MAX 32U

/* Policy: a longer description is not read (WIRE.md 11). */
#define WIRE_VMDESCRIPTION_MAX (10U * 1024 * 1024)

/* Policy: a package larger than this is refused (WIRE.md 11). */
#define WIRE_PACKAGE_MAX (256U * 1024 * 1024)

#endif
