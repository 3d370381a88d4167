/* SPDX-License-Identifier: Apache-2.0 */
/* Is a description one that can be saved and loaded? Asked once, when a device is registered. */
#include "guest/vmstate.h"

#include <errno.h>
#include <inttypes.h>

#include "guest/vmstate-walk.h"

#define FLAGS_KNOWN (VMS_VARRAY_FLAGS | MIGD_VMS_POINTER | MIGD_VMS_POINTERS | MIGD_VMS_MUST_EXIST)

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

static int check_name(const char *name, const char *what, struct merr *err)
{
	if (!name || !*name)
		return merr_set(err, -EINVAL, "%s has no name", what);
	if (strlen(name) > VMSTATE_NAME_MAX)
		return merr_set(err, -EINVAL, "%s name '%.40s...' is longer than %d bytes", what,
				name, VMSTATE_NAME_MAX);
	if (!is_printable(name))
		return merr_set(err, -EINVAL, "%s name is not printable ASCII", what);
	return 0;
}

/* What is wrong with the size and number of F's elements; NULL: nothing. */
static const char *shape_fault(const struct migd_vmstate_field *f, const struct vms_kind *kind)
{
	uint32_t varray = f->flags & VMS_VARRAY_FLAGS;
	uint64_t bytes;

	if (f->size == 0)
		return "its size is 0";
	if (kind->size && f->size != kind->size)
		return "its size is not its kind's";
	if (varray & (varray - 1))
		return "it has more than one kind of count";
	if (f->count_times && !varray)
		return "its count is fixed, yet to be multiplied";
	if (f->count == 0)
		return varray ? "its count has no bound" : "it has no elements";
	if (!mul_ok(f->size, f->count, &bytes) || bytes > SIZE_MAX / 2)
		return "it is larger than memory";
	if (f->flags & MIGD_VMS_POINTER && f->flags & MIGD_VMS_POINTERS)
		return "it is both a pointer to elements and an array of pointers";
	return NULL;
}

static const char *queue_fault(const struct migd_vmstate_field *f)
{
	const struct migd_vmstate_queue *q = f->queue;

	if (f->kind != MIGD_VMS_QUEUE)
		return q ? "a queue's layout, but not of kind QUEUE" : NULL;
	if (!q)
		return "a queue without a layout";
	if (q->links < MIGD_VMS_LINKS_SINGLE || q->links > MIGD_VMS_LINKS_TAILQ)
		return "its links are not known here";
	if (!range_ok(q->next, sizeof(void *), q->elem_size) || !range_ok(q->prev, sizeof(void *), q->elem_size))
		return "its elements are too small for their links";
	if (!range_ok(q->first, sizeof(void *), f->size) || !range_ok(q->last, sizeof(void *), f->size))
		return "its head is too small for its links";
	return NULL;
}

static const char *nested_fault(const struct migd_vmstate_field *f, const struct vms_kind *kind)
{
	if (kind->nested && !f->vmsd)
		return "a struct without a description (vmsd)";
	if (!kind->nested && f->vmsd)
		return "a description (vmsd) but not of kind STRUCT";
	if (f->kind != MIGD_VMS_VSTRUCT || !f->vmsd)
		return f->struct_version ? "a struct_version, but not of kind VSTRUCT" : NULL;
	if (f->struct_version > f->vmsd->version || f->struct_version < f->vmsd->minimum_version)
		return "its struct_version is none that its description has";
	return NULL;
}

static const char *field_fault(const struct migd_vmstate *d, const struct migd_vmstate_field *f)
{
	const struct vms_kind *kind = vms_kind(f->kind);
	const char *fault;

	if (f->flags & ~(uint32_t)FLAGS_KNOWN || f->reserved)
		return "it has flags that are not known here";
	if (f->flags & MIGD_VMS_MUST_EXIST)
		return f->exists ? NULL : "MUST_EXIST without exists()";
	if (!kind)
		return "its kind is not known here";
	if (f->version > d->version)
		return "its version is later than the description's";
	if (f->kind == MIGD_VMS_UNUSED && f->flags)
		return "unused bytes have no count in memory and no pointer";
	if (f->flags & ~kind->flags)
		return "its kind cannot be counted or pointed to so";
	if ((f->kind == MIGD_VMS_TMP || f->kind == MIGD_VMS_VSTRUCT) && f->count != 1)
		return "its kind is no array";
	fault = nested_fault(f, kind);
	if (!fault)
		fault = queue_fault(f);
	return fault ? fault : shape_fault(f, kind);
}

static bool begins_with(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/*
 * A nested struct takes every subsection whose name begins with its own (WIRE.md 2.4), so one that follows may not
 * look as if it were the nested struct's.
 */
static int check_nested_name(const struct migd_vmstate *d, const struct migd_vmstate_field *f,
			     struct merr *err)
{
	for (size_t i = 0; d->subsections && d->subsections[i]; i++)
		if (d->subsections[i]->name && begins_with(d->subsections[i]->name, f->vmsd->name))
			return merr_set(err, -EINVAL,
					"subsection '%s' would be taken for one of the nested '%s'",
					d->subsections[i]->name, f->vmsd->name);
	return 0;
}

static int check_at(const struct migd_vmstate *d, unsigned int depth, struct merr *err);

static int check_fields(const struct migd_vmstate *d, unsigned int depth, struct merr *err)
{
	const char *fault;
	int r;

	for (const struct migd_vmstate_field *f = d->fields; f->kind != MIGD_VMS_END; f++) {
		r = check_name(f->name, "a field", err);
		if (r < 0)
			return r;
		fault = field_fault(d, f);
		if (fault)
			return merr_set(err, -EINVAL, "field '%s': %s", f->name, fault);
		if (!f->vmsd || f->flags & MIGD_VMS_MUST_EXIST)
			continue;
		r = check_at(f->vmsd, depth + 1, err);
		if (r == 0)
			r = check_nested_name(d, f, err);
		if (r < 0) {
			(void)merr_prefix(err, "field '%s'", f->name);
			return r;
		}
	}
	return 0;
}

static int check_subsection(const struct migd_vmstate *d, size_t i, unsigned int depth,
			    struct merr *err)
{
	const struct migd_vmstate *sub = d->subsections[i];
	size_t parent = strlen(d->name);
	int r;

	if (i >= VMSTATE_SUBSECTIONS_MAX)
		return merr_set(err, -EINVAL, "more than %d subsections", VMSTATE_SUBSECTIONS_MAX);
	r = check_at(sub, depth + 1, err);
	if (r < 0)
		return r;
	if (!begins_with(sub->name, d->name) || sub->name[parent] != '/' ||
	    sub->name[parent + 1] == '\0')
		return merr_set(err, -EINVAL, "subsection '%s': its name does not begin with '%s/'",
				sub->name, d->name);
	for (size_t j = 0; j < i; j++)
		if (begins_with(sub->name, d->subsections[j]->name) ||
		    begins_with(d->subsections[j]->name, sub->name))
			return merr_set(err, -EINVAL,
					"subsections '%s' and '%s': one name begins with the other",
					d->subsections[j]->name, sub->name);
	return 0;
}

static int check_one(const struct migd_vmstate *d, unsigned int depth, struct merr *err)
{
	int r;

	if (d->minimum_version > d->version)
		return merr_set(err, -EINVAL, "minimum_version %" PRIu32 " is over version %" PRIu32,
				d->minimum_version, d->version);
	if (!d->fields)
		return merr_set(err, -EINVAL, "it has no table of fields");
	r = check_fields(d, depth, err);
	for (size_t i = 0; r == 0 && d->subsections && d->subsections[i]; i++)
		r = check_subsection(d, i, depth, err);
	return r;
}

static int check_at(const struct migd_vmstate *d, unsigned int depth, struct merr *err)
{
	int r;

	if (!d)
		return merr_set(err, -EINVAL, "there is no description");
	r = check_name(d->name, "a description", err);
	if (r < 0)
		return r;
	if (depth > VMSTATE_DEPTH_MAX)
		return merr_set(err, -EINVAL, "descriptions are nested deeper than %d: does '%s' hold itself?",
				VMSTATE_DEPTH_MAX, d->name);
	r = check_one(d, depth, err);
	if (r < 0)
		(void)merr_prefix(err, "description '%s'", d->name);
	return r;
}

int vmstate_check(const struct migd_vmstate *d, struct merr *err)
{
	return check_at(d, 1, err);
}
