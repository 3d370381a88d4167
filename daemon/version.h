/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version, as the greeting and --version show it. The numbers come from the top CMakeLists.txt.
 */
#ifndef MIGD_DAEMON_VERSION_H
#define MIGD_DAEMON_VERSION_H

#define MIGD_VERSION_TEXT(v) #v
#define MIGD_VERSION_OF(a, b, c)                                                                   \
	MIGD_VERSION_TEXT(a) "." MIGD_VERSION_TEXT(b) "." MIGD_VERSION_TEXT(c)
#define MIGD_VERSION MIGD_VERSION_OF(MIGD_VERSION_MAJOR, MIGD_VERSION_MINOR, MIGD_VERSION_MICRO)

#endif
