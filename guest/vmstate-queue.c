/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive linked lists by the offsets of their links: walking, and appending what a load brings. */
#include <stdlib.h>

#include "guest/vmstate-walk.h"

static uint8_t *get_ptr(const uint8_t *at)
{
	void *p;

	memcpy(&p, at, sizeof(p));
	return p;
}

static void set_ptr(uint8_t *at, void *p)
{
	memcpy(at, &p, sizeof(p));
}

uint8_t *vms_queue_first(const struct migd_vmstate_queue *q, const uint8_t *head)
{
	return get_ptr(head + q->first);
}

uint8_t *vms_queue_next(const struct migd_vmstate_queue *q, const uint8_t *elem)
{
	return get_ptr(elem + q->next);
}

uint8_t *vms_queue_append(const struct migd_vmstate_queue *q, uint8_t *head, uint8_t *tail, void *opaque)
{
	uint8_t *elem = q->alloc ? q->alloc(opaque) : calloc(1, q->elem_size);
	uint8_t *link = tail ? tail + q->next : head + q->first;	/* the pointer that will point to elem */

	if (!elem)
		return NULL;
	set_ptr(elem + q->next, NULL);
	if (q->links == MIGD_VMS_LINKS_DOUBLE)
		set_ptr(elem + q->prev, tail);
	else if (q->links != MIGD_VMS_LINKS_SINGLE)
		set_ptr(elem + q->prev, link);
	set_ptr(link, elem);
	if (q->links == MIGD_VMS_LINKS_DOUBLE)
		set_ptr(head + q->last, elem);
	else if (q->links == MIGD_VMS_LINKS_TAILQ)
		set_ptr(head + q->last, elem + q->next);
	return elem;
}
