/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands for the shells' completion. The scripts ask migctl itself at each TAB, so that they always fit the migctl that
 * is installed: its table of commands, its schema, and the daemon's names.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/complete.h"
#include "ctl/ctl.h"

/* bash breaks words at = and : and replaces the last part only. */
static const char for_bash[] =
	"# bash completion for migctl: migctl completion bash\n"
	"_migctl()\n"
	"{\n"
	"	local last=${COMP_WORDS[COMP_CWORD]} full word help\n"
	"	COMPREPLY=()\n"
	"	{\n"
	"		IFS= read -r full\n"
	"		[[ $last == [=:] ]] && last=\n"
	"		[[ $full == *\"$last\" ]] || last=$full\n"
	"		while IFS=$'\\t' read -r word help; do\n"
	"			[[ $word == *[[:space:]]* ]] && printf -v word %q \"$word\"\n"
	"			COMPREPLY+=(\"${word#\"${full%\"$last\"}\"}\")\n"
	"		done\n"
	"	} < <(\"$1\" complete -- \"${COMP_LINE:0:COMP_POINT}\" 2>/dev/null)\n"
	"	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]] && compopt -o nospace 2>/dev/null\n"
	"	return 0\n"
	"}\n"
	"complete -F _migctl migctl\n";

static const char for_zsh[] =
	"#compdef migctl\n"
	"# zsh completion for migctl: migctl completion zsh\n"
	"_migctl() {\n"
	"	local -a lines plain whole shown_plain shown_whole\n"
	"	local line word help\n"
	"	lines=(\"${(@f)$(${(Q)words[1]} complete -- \"${(j: :)words[1,CURRENT]}\" 2>/dev/null)}\")\n"
	"	for line in \"${(@)lines[2,-1]}\"; do\n"
	"		word=${line%%$'\\t'*} help=${line#*$'\\t'}\n"
	"		[[ -n $word ]] || continue\n"
	"		if [[ $word == *[=:/] ]]; then\n"
	"			plain+=(\"$word\") shown_plain+=(\"$word${help:+  -- $help}\")\n"
	"		else\n"
	"			whole+=(\"$word\") shown_whole+=(\"$word${help:+  -- $help}\")\n"
	"		fi\n"
	"	done\n"
	"	(( $#plain )) && compadd -l -S '' -d shown_plain -a plain\n"
	"	(( $#whole )) && compadd -l -d shown_whole -a whole\n"
	"	(( $#plain + $#whole ))\n"
	"}\n"
	"if [[ $funcstack[1] == _migctl ]]; then\n"
	"	_migctl \"$@\"\n"
	"else\n"
	"	compdef _migctl migctl\n"
	"fi\n";

static int completion_run(struct ctl *ctl, struct merr *err)
{
	(void)err;
	fputs(strcmp(ctl->args[0], "bash") == 0 ? for_bash : for_zsh, stdout);
	return CTL_OK;
}

/* Nobody waits long for a TAB, whatever the daemon does. */
#define PATIENCE_S 2

static int complete_run(struct ctl *ctl, struct merr *err)
{
	(void)err;
	(void)signal(SIGALRM, SIG_DFL);
	alarm(PATIENCE_S);
	complete_line(ctl->args[0], ctl->socket_path, ctl->guest, stdout);
	alarm(0);
	return CTL_OK;
}

const struct ctl_command ctl_completion_commands[] = {
	{ .name = "completion",
	  .args = "bash|zsh",
	  .help = "print what makes the TAB key complete migctl's command lines",
	  .text = "Verbs, options, parameters and their values, and what the daemon has now: guests, objects, ports. Packages install it "
		  "where the shells find it.",
	  .examples = "# in this shell only\nsource <(migctl completion bash)\n# zsh, for good: into a folder of $fpath\n"
		      "migctl completion zsh > ~/.zfunc/_migctl",
	  .related = "complete",
	  .no_guest = true,
	  .no_daemon = true,
	  .run = completion_run },
	{ .name = "complete",
	  .args = "LINE",
	  .help = "print what may come next on a command line; for completion",
	  .text = "First the last word as it is so far, then each word it can become, a tab, and what that is.",
	  .examples = "# the parameters that begin so\nmigctl complete 'migctl set multifd-'",
	  .related = "completion",
	  .no_daemon = true,
	  .run = complete_run },
	{ 0 },
};
