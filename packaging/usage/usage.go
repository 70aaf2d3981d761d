// Package usage reads what a program says of itself: "PROGRAM help", and the help of
// each of its commands. Man pages and completions are made of that, so that nothing
// is written twice and nothing of it can be forgotten.
package usage

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Program is what a program says of itself.
type Program struct {
	Name     string
	Help     string    // all of it
	Commands []Command // in the order of Help
}

// Command is one command of a program.
type Command struct {
	Name   string
	Help   string    // what the command says of itself; that of the program if it says nothing of its own
	Own    bool      // Help is not the program's
	Subs   []Command // the commands that it has; they have no Help of their own
	Flags  []Flag    // of the command or, when it has Subs, of each of them as well
	Takes  []string  // what is written behind the flags: "FILE", "PORT", "DEVICE"
	Called []string  // the lines that show a call
}

// Flag is a flag of a command.
type Flag struct {
	Name    string   // with its dash: "-config"
	Value   string   // what it takes, "FILE"; empty if it is a switch, or nothing is said
	Text    string   // what it does, if it is said in a line of its own
	Choices []string // the words that Value can be, if the text names them
}

// Flag returns a flag by its name.
func (c Command) Flag(name string) (Flag, bool) {
	i := slices.IndexFunc(c.Flags, func(f Flag) bool { return f.Name == name })
	if i < 0 {
		return Flag{}, false
	}
	return c.Flags[i], true
}

// Read asks the program in a file.
func Read(ctx context.Context, path string) (Program, error) {
	p := Program{Name: filepath.Base(path)}
	var err error
	if p.Help, err = ask(ctx, path, "help"); err != nil {
		return p, err
	}
	for _, name := range names(p) {
		c := Command{Name: name, Help: p.Help}
		switch {
		case name == "help":
		case listed(p):
			c.Help, err = ask(ctx, path, "help", name)
		default:
			c.Help, err = ask(ctx, path, name, "-help")
		}
		if err != nil {
			return p, err
		}
		c.Own = c.Help != p.Help
		p.Commands = append(p.Commands, c.parsed(p))
	}
	if len(p.Commands) == 0 {
		return p, fmt.Errorf("%s: \"%s help\" names no commands", path, p.Name)
	}
	return p, nil
}

// ask returns what a call prints. Help comes on either stream, and with an exit code
// of 0.
func ask(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(path), strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return out.String(), nil
}

// listed says that the program's help lists its commands without its own name before
// each; such a program has "help COMMAND".
func listed(p Program) bool { return strings.Contains(p.Help, `"help COMMAND"`) }

var listedName = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) {2,}`)

// names returns the commands that the help of a program shows.
func names(p Program) []string {
	var found []string
	add := func(name string) {
		if !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	if listed(p) {
		for _, m := range listedName.FindAllStringSubmatch(p.Help, -1) {
			add(m[1])
		}
		return found
	}
	line := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(p.Name) + ` +([a-z][a-z-]*)(( \| [a-z-]+( [A-Z]+)?)*)`)
	for _, m := range line.FindAllStringSubmatch(p.Help, -1) {
		add(m[1])
		for _, other := range strings.Split(m[2], "|") {
			if f := strings.Fields(other); len(f) > 0 {
				add(f[0])
			}
		}
	}
	return found
}
