/* SPDX-License-Identifier: Apache-2.0 */
/* An architecture with one section and no records, in place of KVM's. */
#include "tests/vmstate/fake-arch.h"

#include <errno.h>
#include <string.h>

const char arch_name[] = "fake";

static const struct migd_vmstate cpu_vmstate = {
	.name = "fake-cpu", .version = 1, .minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U32(struct arch_state, cpu), MIGD_VMS_FIELD_END },
};

void fake_arch_init(struct arch_state *a)
{
	*a = (struct arch_state){ .section = { "fake-cpu", 0, &cpu_vmstate, a } };
}

size_t arch_sections(struct arch_state *a, const struct arch_section **ret)
{
	*ret = &a->section;
	return 1;
}

int arch_capture(struct arch_state *a, struct merr *err)
{
	(void)err;
	a->captured++;
	return 0;
}

void arch_load_begin(struct arch_state *a)
{
	a->begun++;
}

int arch_load_apply(struct arch_state *a, struct merr *err)
{
	a->applied++;
	return a->apply_says ? merr_set(err, a->apply_says, "the fake CPU says no") : 0;
}

const char *arch_notes(const struct arch_state *a)
{
	(void)a;
	return "";
}

int arch_config_put(struct arch_state *a, struct buf *out, struct merr *err)
{
	(void)a;
	(void)err;
	config_put(out, CONFIG_ARCH_FIRST, 0, 0, "cpu", 3);
	return 0;
}

int arch_config_begin(struct arch_state *a, struct merr *err)
{
	(void)a;
	(void)err;
	return 0;
}

int arch_config_record(struct arch_state *a, const struct config_record *rec, struct merr *err)
{
	(void)a;
	return rec->kind == CONFIG_ARCH_FIRST ? 0 : merr_set(err, -EPROTO, "record %u", rec->kind);
}

int arch_config_end(struct arch_state *a, struct mismatches *m, struct merr *err)
{
	(void)a;
	(void)m;
	(void)err;
	return 0;
}
