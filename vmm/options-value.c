/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options: sizes, numbers, UUIDs. */
#include "vmm/options-value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/util.h"

/* *ret_end is VALUE when there is no number. A sign is none. */
static uint64_t digits(const char *value, const char **ret_end)
{
	char *end = (char *)value;
	errno = 0;
	unsigned long long n = isdigit((unsigned char)value[0]) ? strtoull(value, &end, 0) : 0;
	*ret_end = errno ? value : end;
	return n;
}

int value_size(const char *option, const char *value, uint64_t *ret)
{
	static const char suffixes[] = "KMGT";
	const char *end;
	uint64_t n = digits(value, &end);
	if (end == value)
		return fail(-EINVAL, "--%s: '%s' is not a size; write 512M or 4G", option, value);
	unsigned int shift = 0;
	const char *suffix = *end ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
	if (suffix) {
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		end++;
	}
	if (*end)
		return fail(-EINVAL, "--%s: '%s' after the size '%s'; the suffixes are K, M, G, T",
			    option, end, value);
	if (n > UINT64_MAX >> shift)
		return fail(-EINVAL, "--%s: '%s' is too large", option, value);
	*ret = n << shift;
	return 0;
}

int value_number(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *end;
	uint64_t n = digits(value, &end);
	if (end == value || *end)
		return fail(-EINVAL, "--%s: '%s' is not a number", option, value);
	if (n < min || n > max)
		return fail(-EINVAL, "--%s: %s is not between %llu and %llu", option, value,
			    (unsigned long long)min, (unsigned long long)max);
	*ret = n;
	return 0;
}

int value_uuid(const char *option, const char *value, uint8_t ret[16])
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	uint8_t uuid[16] = { 0 };
	unsigned int n_digits = 0;
	bool good = strlen(value) == strlen(shape);
	for (size_t i = 0; good && shape[i]; i++) {
		char c = (char)tolower((unsigned char)value[i]);
		if (shape[i] == '-') {
			good = c == '-';
			continue;
		}
		good = isxdigit((unsigned char)c);
		uint8_t digit = (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
		uuid[n_digits / 2] = (uint8_t)(uuid[n_digits / 2] << 4 | (digit & 15));
		n_digits++;
	}
	if (!good)
		return fail(-EINVAL, "--%s: '%s' is not of the form %s", option, value, shape);
	memcpy(ret, uuid, sizeof(uuid));
	return 0;
}
