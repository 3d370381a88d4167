/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller (IBM PC/AT Technical Reference, 8042), as far as systems expect one: it answers its
 * self-tests, has no keyboard, and its command 0xfe resets the machine.
 */
#include "vmm/devices.h"
#include "vmm/reset.h"
#include "vmm/util.h"

#define REG_DATA 0	/* port 0x60 */
#define REG_COMMAND 4	/* port 0x64; reads the status */

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM 0x04	/* self-test passed */
#define STATUS_COMMAND 0x08	/* the last write was a command */
#define STATUS_UNLOCKED 0x10

#define MODE_AT_POWER_ON 0x30	/* keyboard and mouse disabled */

struct i8042 {
	uint8_t mode;		/* the command byte */
	uint8_t output;
	uint8_t status;
	uint8_t command;	/* that waits for a byte at port 0x60; 0: none */
};

static const struct migd_vmstate_field i8042_fields[] = {
	MIGD_VMS_FIELD_U8(struct i8042, mode),	 MIGD_VMS_FIELD_U8(struct i8042, output),
	MIGD_VMS_FIELD_U8(struct i8042, status), MIGD_VMS_FIELD_U8(struct i8042, command),
	MIGD_VMS_FIELD_END,
};

static const struct migd_vmstate i8042_state = {
	.name = "i8042", .version = 1, .minimum_version = 1, .fields = i8042_fields
};

static const struct device_derived i8042_derived[] = { DEVICE_DERIVED_END };

static void i8042_reset(struct device *dev)
{
	struct i8042 *k = dev->state;
	*k = (struct i8042){ .mode = MODE_AT_POWER_ON, .status = STATUS_UNLOCKED };
}

static void answer(struct i8042 *k, uint8_t value)
{
	k->output = value;
	k->status |= STATUS_OUTPUT_FULL;
}

/* Commands that only answer with a byte. */
static const struct {
	uint8_t command;
	uint8_t answer;
} answers[] = {
	{ 0xa9, 0x02 },	/* test the mouse's lines: clock stuck, there is none */
	{ 0xaa, 0x55 },	/* self-test: passed */
	{ 0xab, 0x02 },	/* test the keyboard's lines: likewise */
	{ 0xc0, 0x80 },	/* input port: keyboard not locked */
	{ 0xd0, 0x03 },	/* output port: A20 on, no reset */
};

/* Commands that change bits of the mode. */
static const struct {
	uint8_t command;
	uint8_t clear, set;
} modes[] = {
	{ 0xa7, 0, 0x20 }, { 0xa8, 0x20, 0 },	/* mouse off, on */
	{ 0xad, 0, 0x10 }, { 0xae, 0x10, 0 },	/* keyboard off, on */
};

#define COMMAND_READ_MODE 0x20
#define COMMAND_WRITE_MODE 0x60
#define COMMAND_SELF_TEST 0xaa
#define COMMAND_WRITE_OUTPUT_PORT 0xd1
#define COMMAND_RESET 0xfe
#define OUTPUT_PORT_NO_RESET 0x01

static void run_command(struct device *dev, uint8_t command)
{
	struct i8042 *k = dev->state;
	k->status |= STATUS_COMMAND;
	k->command = 0;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (answers[i].command == command)
			answer(k, answers[i].answer);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (modes[i].command == command)
			k->mode = (uint8_t)((k->mode & ~modes[i].clear) | modes[i].set);
	if (command == COMMAND_READ_MODE)
		answer(k, k->mode);
	else if (command == COMMAND_SELF_TEST)
		k->status |= STATUS_SYSTEM;
	else if (command == COMMAND_WRITE_MODE || command == COMMAND_WRITE_OUTPUT_PORT)
		k->command = command;
	else if (command == COMMAND_RESET)
		reset_request(dev->machine);
}

static void take_data(struct device *dev, uint8_t value)
{
	struct i8042 *k = dev->state;
	k->status &= (uint8_t)~STATUS_COMMAND;
	if (k->command == COMMAND_WRITE_MODE)
		k->mode = value;
	else if (k->command == COMMAND_WRITE_OUTPUT_PORT && !(value & OUTPUT_PORT_NO_RESET))
		reset_request(dev->machine);
	k->command = 0;
}

static uint64_t i8042_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct i8042 *k = dev->state;
	(void)size;
	if (offset == REG_COMMAND)
		return k->status;
	if (offset != REG_DATA)
		return UINT64_MAX;
	k->status &= (uint8_t)~STATUS_OUTPUT_FULL;
	return k->output;
}

static void i8042_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)size;
	if (offset == REG_COMMAND)
		run_command(dev, (uint8_t)value);
	else if (offset == REG_DATA)
		take_data(dev, (uint8_t)value);
}

const struct device_type i8042_type = {
	.name = "i8042",
	.state_size = sizeof(struct i8042),
	.state = &i8042_state,
	.derived = i8042_derived,
	.access_max = 1,
	.reset = i8042_reset,
	.read = i8042_read,
	.write = i8042_write,
};
