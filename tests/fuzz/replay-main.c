/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of the folders and files named on the command line, without a fuzzer. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Exactly as long as the file, so that a sanitizer sees the first byte read beyond it. */
static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (f)
			fclose(f);
		return -1;
	}
	size_t len = (size_t)st.st_size;
	uint8_t *data = malloc(len ? len : 1);
	if (!data || fread(data, 1, len, f) != len) {
		fprintf(stderr, "%s: cannot be read whole\n", path);
		free(data);
		fclose(f);
		return -1;
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 0;
}

static int replay_folder(const char *path, unsigned int *n_files)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int r = 0;

	if (!dir)
		return replay_file(path);
	while (r == 0 && (e = readdir(dir))) {
		char file[4096];

		if (e->d_name[0] == '.')
			continue;
		if (snprintf(file, sizeof(file), "%s/%s", path, e->d_name) >= (int)sizeof(file))
			r = -1;
		else
			r = replay_file(file);
		(*n_files)++;
	}
	closedir(dir);
	return r;
}

int main(int argc, char **argv)
{
	unsigned int n_files = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		if (replay_folder(argv[i], &n_files) < 0)
			return 1;
	printf("%u inputs replayed\n", n_files);
	return 0;
}
