/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real-time clock and its CMOS memory (Motorola MC146818A). The time is the host's (UTC) plus what the guest
 * set it off by. Alarm and periodic interrupts are registers only: none is raised.
 */
#include <errno.h>
#include <time.h>

#include "vmm/devices.h"
#include "vmm/machine.h"
#include "vmm/ram.h"
#include "vmm/util.h"

#define REG_INDEX 0	/* port 0x70 */
#define REG_DATA 1

#define CMOS_LEN 128
#define CMOS_A 0x0a
#define CMOS_B 0x0b
#define CMOS_C 0x0c
#define CMOS_D 0x0d
#define CMOS_CENTURY 0x32
#define A_AT_POWER_ON 0x26	/* 32.768 kHz, 1024 Hz */
#define B_24H 0x02
#define B_BINARY 0x04
#define B_SET 0x80		/* the guest sets the time: it stands still */
#define D_VALID 0x80
#define HOUR_PM 0x80
#define TIME_MAX_S (1LL << 40)	/* 30,000 years: what struct tm is good for */

struct rtc {
	int64_t offset_s;	/* guest time minus host time */
	int64_t frozen_s;	/* guest time while B_SET */
	uint8_t index;
	uint8_t unused[7];
	uint8_t cmos[CMOS_LEN];	/* time registers are not looked at */
};

static int rtc_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	const struct rtc *r = opaque;
	(void)version;
	bool sane = r->index < CMOS_LEN && llabs(r->offset_s) < TIME_MAX_S &&
		    llabs(r->frozen_s) < TIME_MAX_S;
	return sane ? 0 : migd_vmstate_fail(err, -EINVAL, "index or time is out of range");
}

static const struct migd_vmstate_field rtc_fields[] = {
	MIGD_VMS_FIELD_S64(struct rtc, offset_s),
	MIGD_VMS_FIELD_S64(struct rtc, frozen_s),
	MIGD_VMS_FIELD_U8(struct rtc, index),
	MIGD_VMS_FIELD_U8_ARRAY(struct rtc, cmos, CMOS_LEN),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate rtc_state = { .name = "rtc",
					       .version = 1,
					       .minimum_version = 1,
					       .fields = rtc_fields,
					       .post_load = rtc_post_load };

static const struct device_derived rtc_derived[] = {
	DEVICE_DERIVED(struct rtc, unused, "padding"),
	DEVICE_DERIVED_END,
};

static int64_t guest_time_s(const struct rtc *r)
{
	if (r->cmos[CMOS_B] & B_SET)
		return r->frozen_s;
	return (int64_t)((uint64_t)time(NULL) + (uint64_t)r->offset_s);
}

static void set_guest_time(struct rtc *r, int64_t s)
{
	r->frozen_s = s;
	r->offset_s = (int64_t)((uint64_t)s - (uint64_t)time(NULL));
}

static uint8_t to_register(const struct rtc *r, int value)
{
	bool binary = r->cmos[CMOS_B] & B_BINARY;
	return (uint8_t)(binary ? value : value / 10 % 10 << 4 | value % 10);
}

static int from_register(const struct rtc *r, uint8_t value)
{
	return r->cmos[CMOS_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t hour_to_register(const struct rtc *r, int hour)
{
	if (r->cmos[CMOS_B] & B_24H)
		return to_register(r, hour);
	uint8_t value = to_register(r, hour % 12 ? hour % 12 : 12);
	return hour >= 12 ? value | HOUR_PM : value;
}

static int hour_from_register(const struct rtc *r, uint8_t value)
{
	if (r->cmos[CMOS_B] & B_24H)
		return from_register(r, value);
	int hour = from_register(r, value & (uint8_t)~HOUR_PM) % 12;
	return value & HOUR_PM ? hour + 12 : hour;
}

/* A register of the time: where struct tm has it, and what to add to get there. */
static const struct time_row {
	uint8_t reg;
	size_t member;
	int plus;
} time_rows[] = {
	{ 0x00, offsetof(struct tm, tm_sec), 0 },   { 0x02, offsetof(struct tm, tm_min), 0 },
	{ 0x04, offsetof(struct tm, tm_hour), 0 },  { 0x06, offsetof(struct tm, tm_wday), 1 },
	{ 0x07, offsetof(struct tm, tm_mday), 0 },  { 0x08, offsetof(struct tm, tm_mon), 1 },
	{ 0x09, offsetof(struct tm, tm_year), 0 },  { CMOS_CENTURY, offsetof(struct tm, tm_year), 0 },
};

#define REG_HOUR 0x04
#define REG_YEAR 0x09

static const struct time_row *time_row_of(uint8_t reg)
{
	for (size_t i = 0; i < ARRAY_SIZE(time_rows); i++)
		if (time_rows[i].reg == reg)
			return &time_rows[i];
	return NULL;
}

static uint8_t read_time(const struct rtc *r, const struct time_row *row)
{
	struct tm tm;
	time_t t = (time_t)guest_time_s(r);
	if (!gmtime_r(&t, &tm))
		return 0;
	int value = *(const int *)((const char *)&tm + row->member) + row->plus;
	if (row->reg == REG_HOUR)
		return hour_to_register(r, value);
	if (row->reg == REG_YEAR)
		value %= 100;
	if (row->reg == CMOS_CENTURY)
		value = (value + 1900) / 100;
	return to_register(r, value);
}

static void write_time(struct rtc *r, const struct time_row *row, uint8_t reg_value)
{
	struct tm tm;
	time_t t = (time_t)guest_time_s(r);
	if (!gmtime_r(&t, &tm))
		return;
	int *member = (int *)((char *)&tm + row->member);
	int value = from_register(r, reg_value);
	if (row->reg == REG_HOUR)
		*member = hour_from_register(r, reg_value);
	else if (row->reg == REG_YEAR)
		*member = (tm.tm_year + 1900) / 100 * 100 - 1900 + value;
	else if (row->reg == CMOS_CENTURY)
		*member = value * 100 - 1900 + tm.tm_year % 100;
	else
		*member = value - row->plus;
	set_guest_time(r, (int64_t)timegm(&tm));
}

static void rtc_write_b(struct rtc *r, uint8_t value)
{
	uint8_t old = r->cmos[CMOS_B];
	int64_t now = guest_time_s(r);
	r->cmos[CMOS_B] = value;
	if ((old ^ value) & B_SET)
		set_guest_time(r, now);
}

static uint64_t rtc_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct rtc *r = dev->state;
	(void)size;
	if (offset == REG_INDEX)
		return r->index;
	const struct time_row *row = time_row_of(r->index);
	return row ? read_time(r, row) : r->cmos[r->index];
}

static void rtc_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct rtc *r = dev->state;
	(void)size;
	if (offset == REG_INDEX) {
		r->index = value & (CMOS_LEN - 1); /* bit 7 masks NMI */
		return;
	}
	const struct time_row *row = time_row_of(r->index);
	if (row)
		write_time(r, row, (uint8_t)value);
	else if (r->index == CMOS_B)
		rtc_write_b(r, (uint8_t)value);
	else if (r->index == CMOS_A)
		r->cmos[CMOS_A] = value & 0x7f; /* no update is ever in progress */
	else if (r->index != CMOS_C && r->index != CMOS_D)
		r->cmos[r->index] = (uint8_t)value;
}

/* A reset of the machine leaves a clock with a battery alone, except for its interrupts. */
static void rtc_reset(struct device *dev)
{
	struct rtc *r = dev->state;
	r->cmos[CMOS_B] &= 0x87;
	r->index = 0;
}

static void put16(struct rtc *r, uint8_t reg, uint64_t value)
{
	r->cmos[reg] = (uint8_t)value;
	r->cmos[reg + 1] = (uint8_t)(value >> 8);
}

/* Where a BIOS leaves the sizes of memory: below 640 KiB, 1 to 64 MiB in KiB, from 16 MiB and 4 GiB in 64 KiB. */
static int rtc_init(struct device *dev, const struct options *opt)
{
	struct rtc *r = dev->state;
	(void)opt;
	uint64_t low = ram_low_len(&dev->machine->ram), high = ram_high_len(&dev->machine->ram);
	r->cmos[CMOS_A] = A_AT_POWER_ON;
	r->cmos[CMOS_B] = B_24H;
	r->cmos[CMOS_D] = D_VALID;
	put16(r, 0x15, 640);
	put16(r, 0x17, low > MIB ? MIN((low - MIB) / KIB, 0xfc00) : 0);
	put16(r, 0x30, low > MIB ? MIN((low - MIB) / KIB, 0xfc00) : 0);
	put16(r, 0x34, low > 16 * MIB ? MIN((low - 16 * MIB) / (64 * KIB), 0xffff) : 0);
	put16(r, 0x5b, high / (64 * KIB));
	r->cmos[0x5d] = (uint8_t)(high / (64 * KIB) >> 16);
	return 0;
}

const struct device_type rtc_type = {
	.name = "rtc",
	.state_size = sizeof(struct rtc),
	.state = &rtc_state,
	.derived = rtc_derived,
	.access_max = 1,
	.init = rtc_init,
	.reset = rtc_reset,
	.read = rtc_read,
	.write = rtc_write,
};
