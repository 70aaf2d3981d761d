package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/packaging/usage"
)

// frame is the function that bash calls, but for the tables of a program: %[1]s is its
// name, %[2]s the name as part of a function's, then the commands, the commands of
// commands, the flags, what flags take, and what is written behind the flags.
const frame = `# Completions of %[1]s for bash. Made by packaging/completion.

_%[2]s_files() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen "$2" -- "$1")
}

_%[2]s_ports() {
	# Names by path have colons, where bash divides words: it wants what is behind the last.
	local port word=${COMP_LINE:0:COMP_POINT} before=""
	word=${word##* }
	[[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && before=${word%%%%"${word##*:}"}
	for port in /dev/serial/by-id/* /dev/serial/by-path/* /dev/tty{USB,ACM,AMA,S,mxc}[0-9]*; do
		[[ -e $port && $port == "$word"* ]] && COMPREPLY+=("${port#"$before"}")
	done
}

_%[2]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local command=${COMP_WORDS[1]} sub=${COMP_WORDS[2]} subs flags
	COMPREPLY=()
	# -flag=value comes as three words.
	if [[ $cur == "=" ]]; then
		cur=""
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "%[3]s" -- "$cur")
		return
	fi
	case $command in
%[4]s	esac
	if [[ -n $subs ]] && ((COMP_CWORD == 2)); then
		mapfile -t COMPREPLY < <(compgen -W "$subs" -- "$cur")
		return
	fi
	[[ -n $subs ]] && command+=" $sub"
	case "$command $prev" in
%[6]s	esac
	case $command in
%[5]s	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
		return
	fi
	case $command in
%[7]s	esac
}

complete -F _%[2]s %[1]s
`

// tables are the arms of the function's case statements.
type tables struct {
	function           string
	subs, flags, takes bytes.Buffer
	does               []string            // what completes values, in the order of the commands
	values             map[string][]string // of which flags, by what completes them
}

// script returns the completion of a program.
func script(p usage.Program) []byte {
	var names []string
	t := tables{function: strings.ReplaceAll(p.Name, "-", "_"), values: make(map[string][]string)}
	for _, c := range p.Commands {
		names = append(names, c.Name)
		if len(c.Subs) == 0 {
			t.command(c.Name, c)
			continue
		}
		var subs []string
		for _, sub := range c.Subs {
			subs = append(subs, sub.Name)
			t.command(c.Name+" "+sub.Name, sub)
		}
		fmt.Fprintf(&t.subs, "\t%s) subs=%q ;;\n", c.Name, strings.Join(subs, " "))
	}
	if strings.Contains(p.Help, `"help COMMAND"`) {
		fmt.Fprintf(&t.subs, "\thelp) subs=%q ;;\n", strings.Join(names, " "))
	}
	var values bytes.Buffer
	for _, does := range t.does {
		fmt.Fprintf(&values, "\t%s)\n\t\t%s\n\t\treturn\n\t\t;;\n", strings.Join(t.values[does], " | "), does)
	}
	return fmt.Appendf(nil, frame, p.Name, t.function, strings.Join(names, " "),
		&t.subs, &t.flags, &values, &t.takes)
}

// command adds a command, or one of a command.
func (t *tables) command(name string, c usage.Command) {
	var flags []string
	for _, f := range c.Flags {
		flags = append(flags, f.Name)
		if f.Value != "" {
			does := t.value(f)
			if t.values[does] == nil {
				t.does = append(t.does, does)
			}
			t.values[does] = append(t.values[does], strconv.Quote(name+" "+f.Name))
		}
	}
	if len(flags) > 0 {
		fmt.Fprintf(&t.flags, "\t%q) flags=%q ;;\n", name, strings.Join(flags, " "))
	}
	switch {
	case slices.Contains(c.Takes, "FILE"):
		fmt.Fprintf(&t.takes, "\t%q) _%s_files \"$cur\" -f ;;\n", name, t.function)
	case slices.Contains(c.Takes, "PORT"):
		fmt.Fprintf(&t.takes, "\t%q) _%s_ports ;;\n", name, t.function)
	}
}

// value returns what completes the value of a flag; nothing where only its user
// can know it.
func (t *tables) value(f usage.Flag) string {
	switch {
	case len(f.Choices) > 0:
		return fmt.Sprintf(`mapfile -t COMPREPLY < <(compgen -W "%s" -- "$cur")`, strings.Join(f.Choices, " "))
	case f.Value == "FILE", f.Value == "file", f.Value == "path":
		return fmt.Sprintf(`_%s_files "$cur" -f`, t.function)
	case f.Value == "DIR", f.Value == "directory":
		return fmt.Sprintf(`_%s_files "$cur" -d`, t.function)
	}
	return ":"
}
