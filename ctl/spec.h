/* SPDX-License-Identifier: Apache-2.0 */
/* What the schema that migctl was built with says about commands' arguments. All returned is borrowed, for ever. */
#ifndef MIGD_CTL_SPEC_H
#define MIGD_CTL_SPEC_H

#include <jansson.h>

#include "base/err.h"

/* All entries, as query-qmp-schema has them: a list of SchemaInfo. */
const json_t *spec_all(void);

/* The members of a command's arguments, a list of SchemaInfoObjectMember; NULL: there is no such command. */
const json_t *spec_arguments(const char *command);

/* Those of a command whose arguments are a union, for the case WORD; NULL: there is no such case. */
const json_t *spec_variant(const char *command, const char *word);

/* The member called NAME of such a list; NULL: there is none. */
const json_t *spec_member(const json_t *members, const char *name);

/* The words of a member that is an enum, a list of strings; NULL: it is none. */
const json_t *spec_words(const json_t *member);
/* Whether it is true or false. */
bool spec_is_switch(const json_t *member);

/*
 * WORD, NAME=VALUE, into ARGS: numbers may have a suffix, switches are on or off, lists of texts have commas, other
 * things are JSON. VERB is for messages. CTL_OK, or CTL_USAGE with ERR.
 */
int spec_add(json_t *args, const json_t *members, const char *verb, const char *word, struct merr *err);

/* The same of N words. */
int spec_add_all(json_t *args, const json_t *members, const char *verb, char **words, int n, struct merr *err);

/* Values as people write them; NULL: it is none. */
json_t *spec_parse_integer(const char *text);
json_t *spec_parse_switch(const char *text);

#endif
