/* SPDX-License-Identifier: Apache-2.0 */
/* Loading by description: a peer's bytes (WIRE.md 2) into our structs, nothing taken on trust. */
#include "guest/vmstate-walk.h"

#include <errno.h>
#include <inttypes.h>

struct load {
	struct rcur *in;
	const uint8_t *origin;
	struct merr *err;
};

static int load_body(const struct load *l, const struct migd_vmstate *d, uint8_t *opaque,
		     uint32_t version, const struct vms_path *path);

static size_t load_offset(const struct load *l)
{
	return (size_t)(l->in->p - l->origin);
}

/* LEN bytes, or NULL with the error set. */
static const uint8_t *take(const struct load *l, size_t len, const struct vms_path *path)
{
	size_t left = l->in->left;
	const uint8_t *p = rcur_bytes(l->in, len);

	if (!p)
		(void)vms_fail(path, load_offset(l), l->err, -EPROTO,
			       "the data ends here: %zu bytes are needed, %zu are left", len, left);
	return p;
}

static uint64_t read_be(const uint8_t *p, size_t size)
{
	switch (size) {
	case 1:
		return *p;
	case 2:
		return load_be16(p);
	case 4:
		return load_be32(p);
	default:
		return load_be64(p);
	}
}

static void store_native(uint8_t *at, uint64_t v, size_t size)
{
	uint32_t v32 = (uint32_t)v;
	uint16_t v16 = (uint16_t)v;

	switch (size) {
	case 1:
		*at = (uint8_t)v;
		break;
	case 2:
		memcpy(at, &v16, sizeof(v16));
		break;
	case 4:
		memcpy(at, &v32, sizeof(v32));
		break;
	default:
		memcpy(at, &v, sizeof(v));
		break;
	}
}

static uint64_t load_native(const uint8_t *at, size_t size)
{
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (size) {
	case 1:
		return *at;
	case 2:
		memcpy(&v16, at, sizeof(v16));
		return v16;
	case 4:
		memcpy(&v32, at, sizeof(v32));
		return v32;
	default:
		memcpy(&v64, at, sizeof(v64));
		return v64;
	}
}

static int load_scalar(const struct load *l, const struct migd_vmstate_field *f, uint8_t *at,
		       const struct vms_path *path)
{
	const struct vms_kind *kind = vms_kind(f->kind);
	size_t offset = load_offset(l);
	const uint8_t *p = take(l, f->size, path);
	uint64_t theirs, ours;

	if (!p)
		return -EPROTO;
	theirs = read_be(p, f->size);
	if (kind->equal) {
		ours = load_native(at, f->size);
		if (theirs != ours)
			return vms_fail(path, offset, l->err, -EINVAL,
					"must be equal on both sides, but is %" PRIu64
					" at the source and %" PRIu64 " here",
					theirs, ours);
		return 0;
	}
	if (f->kind == MIGD_VMS_BOOL)
		theirs = theirs != 0;
	store_native(at, theirs, f->size);
	return 0;
}

static int load_element(const struct load *l, const struct migd_vmstate_field *f, uint8_t *at,
			const struct vms_path *path)
{
	const uint8_t *p;

	switch (f->kind) {
	case MIGD_VMS_STRUCT:
		/* No version on the wire: the nested description's own. */
		return load_body(l, f->vmsd, at, f->vmsd->version, path);
	case MIGD_VMS_BUFFER:
	case MIGD_VMS_UNUSED:
		p = take(l, f->size, path);
		if (!p)
			return -EPROTO;
		if (f->kind == MIGD_VMS_BUFFER)
			memcpy(at, p, f->size);
		return 0;
	default:
		return load_scalar(l, f, at, path);
	}
}

static int load_field(const struct load *l, const struct migd_vmstate_field *f, uint8_t *opaque,
		      const struct vms_path *up)
{
	struct vms_path path = { .up = up, .name = f->name };
	struct vms_array a;
	const char *why;
	int r;

	r = vms_field_array(f, opaque, &a, &why);
	if (r < 0)
		return vms_fail(&path, load_offset(l), l->err, -EPROTO, "%s", why);
	path.is_array = a.n > 1;
	for (size_t i = 0; i < a.n; i++) {
		path.index = i;
		r = load_element(l, f, a.base + i * f->size, &path);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_fields(const struct load *l, const struct migd_vmstate *d, uint8_t *opaque,
		       uint32_t version, const struct vms_path *path)
{
	int r;

	for (const struct migd_vmstate_field *f = d->fields; f->kind != MIGD_VMS_END; f++) {
		if (f->flags & MIGD_VMS_MUST_EXIST) {
			struct vms_path at = { .up = path, .name = f->name };

			if (!f->exists(opaque, version))
				return vms_fail(&at, load_offset(l), l->err, -EINVAL,
						"the values before it are not valid together");
			continue;
		}
		if (!vms_field_present(f, opaque, version))
			continue;
		r = load_field(l, f, opaque, path);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * The name of a subsection of D that comes next, without moving on: a marker, and a name that begins with D's
 * and is longer. Anything else is left for the enclosing description (WIRE.md 2.4).
 */
static bool peek_subsection(const struct rcur *in, const struct migd_vmstate *d, char *ret_name)
{
	struct rcur peek = *in;
	size_t parent = strlen(d->name);
	uint8_t marker = rcur_u8(&peek);
	uint8_t len = rcur_u8(&peek);
	const uint8_t *name = rcur_bytes(&peek, len);

	if (!name || marker != VMS_SUBSECTION || len <= parent ||
	    memcmp(name, d->name, parent) != 0)
		return false;
	for (size_t i = 0; i < len; i++)
		ret_name[i] = name[i] >= ' ' && name[i] < 0x7f ? (char)name[i] : '?';
	ret_name[len] = '\0';
	return true;
}

static int find_subsection(const struct migd_vmstate *d, const char *name)
{
	for (int i = 0; d->subsections && d->subsections[i]; i++)
		if (strcmp(d->subsections[i]->name, name) == 0)
			return i;
	return -ENOENT;
}

static int load_subsections(const struct load *l, const struct migd_vmstate *d, uint8_t *opaque,
			    const struct vms_path *up)
{
	char name[UINT8_MAX + 1];
	uint64_t seen = 0;

	while (peek_subsection(l->in, d, name)) {
		struct vms_path path = { .up = up };
		size_t offset = load_offset(l);
		int i = find_subsection(d, name), r;
		uint32_t version;

		if (i < 0)
			return vms_fail(up, offset, l->err, -EINVAL,
					"subsection '%s' is not known here: the target is older",
					name);
		if (seen & 1ULL << i)
			return vms_fail(up, offset, l->err, -EPROTO,
					"subsection '%s' comes twice", name);
		seen |= 1ULL << i;
		path.name = d->subsections[i]->name;
		(void)rcur_bytes(l->in, 2 + strlen(name));
		version = rcur_be32(l->in);
		if (l->in->bad)
			return vms_fail(&path, offset, l->err, -EPROTO,
					"the data ends in a subsection's header");
		r = load_body(l, d->subsections[i], opaque, version, &path);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_version(const struct load *l, const struct migd_vmstate *d, uint32_t version,
			 const struct vms_path *path)
{
	if (version > d->version)
		return vms_fail(path, load_offset(l), l->err, -EINVAL,
				"'%s' has version %" PRIu32 " at the source, this side knows up to %" PRIu32
				": the target must be at least as new as the source",
				d->name, version, d->version);
	if (version < d->minimum_version)
		return vms_fail(path, load_offset(l), l->err, -EINVAL,
				"'%s' has version %" PRIu32 " at the source, this side needs at least %" PRIu32,
				d->name, version, d->minimum_version);
	return 0;
}

static int load_body(const struct load *l, const struct migd_vmstate *d, uint8_t *opaque,
		     uint32_t version, const struct vms_path *path)
{
	int r;

	r = check_version(l, d, version, path);
	if (r == 0 && d->pre_load) {
		r = d->pre_load(opaque);
		if (r < 0)
			return vms_fail(path, load_offset(l), l->err, r,
					"pre_load of '%s' failed: %s", d->name, strerror(-r));
	}
	if (r == 0)
		r = load_fields(l, d, opaque, version, path);
	if (r == 0)
		r = load_subsections(l, d, opaque, path);
	if (r == 0 && d->post_load) {
		r = d->post_load(opaque, version);
		if (r < 0)
			return vms_fail(path, load_offset(l), l->err, r,
					"post_load of '%s' refused what it got: %s", d->name,
					strerror(-r));
	}
	return r;
}

int vmstate_load(const struct migd_vmstate *d, void *opaque, uint32_t version, struct rcur *in,
		 const uint8_t *origin, struct merr *err)
{
	struct load l = { .in = in, .origin = origin, .err = err };

	return load_body(&l, d, opaque, version, NULL);
}
