package usage

import (
	"regexp"
	"slices"
	"strings"
)

// parsed returns the command with what its help says.
func (c Command) parsed(p Program) Command {
	calls := callsOf(without(c.Help, "Examples:"), p.Name, c.Name)
	if len(calls) == 0 {
		calls = callsOf(without(p.Help, "Examples:"), p.Name, c.Name)
	}
	prose, filters := "", ""
	if c.Own {
		prose, filters = withoutCalls(without(c.Help, "Examples:"), p.Name), section(c.Help, "Filters:")
	}
	subs := make(map[string][]string)
	var order []string
	for _, call := range calls {
		c.Called = append(c.Called, call)
		if sub := subOf(call, p.Name, c.Name); sub != "" {
			if subs[sub] == nil {
				order = append(order, sub)
			}
			subs[sub] = append(subs[sub], call)
		}
	}
	if len(order) == 0 {
		c.Flags, c.Takes = flagsOf(strings.Join(calls, "\n")+"\n"+c.flagText(prose)), takes(calls)
		return c
	}
	common := without(prose, "Filters:")
	c.Flags = flagsOf(common)
	for _, name := range order {
		text := strings.Join(subs[name], "\n")
		sub := Command{Name: name, Called: subs[name], Takes: takes(subs[name])}
		if strings.Contains(text, "[filters]") {
			text += "\n" + filters
		}
		sub.Flags = flagsOf(text + "\n" + common)
		if m := butFor.FindStringSubmatch(common); m != nil && m[1] == name {
			sub.Flags = slices.DeleteFunc(sub.Flags, func(f Flag) bool { return f.Name == m[2] })
		}
		c.Subs = append(c.Subs, sub)
	}
	return c
}

// flagText is where the flags of a command without commands are told of, beside its
// calls: anywhere, if it has help of its own.
func (c Command) flagText(prose string) string {
	if c.Own {
		return prose
	}
	return ""
}

// callsOf returns the calls of a command that a help shows, each with the lines
// that continue it: a line of the program's name and the command's, and those
// further to the right below it.
func callsOf(help, program, command string) []string {
	start := regexp.MustCompile(`^(Usage: |  )` + regexp.QuoteMeta(program) + ` +` + command + `( |$)`)
	var calls []string
	in := false
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, "\n")
		switch {
		case start.MatchString(line):
			calls, in = append(calls, strings.TrimPrefix(line, "Usage: ")), true
		case in && strings.HasPrefix(line, "         "):
			calls[len(calls)-1] += "\n" + line
		default:
			in = false
		}
	}
	return calls
}

// without returns a help without one of its sections.
func without(help, heading string) string {
	if cut := section(help, heading); cut != "" {
		return strings.ReplaceAll(help, cut, "")
	}
	return help
}

// withoutCalls returns a help without the calls that it shows, of any command: their
// flags are theirs.
func withoutCalls(help, program string) string {
	for _, call := range callsOf(help, program, "[a-z][a-z-]*") {
		help = strings.ReplaceAll(help, call+"\n", "")
	}
	return help
}

// section returns the heading, and the indented lines below it.
func section(help, heading string) string {
	var text strings.Builder
	in := false
	for line := range strings.Lines(help) {
		in = strings.TrimSpace(line) == heading || in && (strings.HasPrefix(line, " ") || line == "\n")
		if in {
			text.WriteString(line)
		}
	}
	return text.String()
}

// subOf returns the command behind a command that a call shows: "ls" of
// "  tidegate buffer ls      segments". It stands one space behind, unlike what is
// said of the call.
func subOf(call, program, command string) string {
	m := regexp.MustCompile(`^\s*` + regexp.QuoteMeta(program) + ` ` + command + ` +([a-z][a-z-]*)(\s|$)`).FindStringSubmatch(call)
	if m == nil || strings.Contains(strings.TrimSpace(call), command+"  ") {
		return ""
	}
	return m[1]
}

var (
	flagLine  = regexp.MustCompile(`^  (-[a-z][a-z0-9-]*)(?: (\S+))?(?:\t(.*))?$`)
	flagWord  = regexp.MustCompile(`(?:^|[\s\[|(])(-[a-z][a-z0-9-]*)(?: ([A-Z][A-Za-z,]*\b|[a-z]+(?:\|[a-z]+)+\b|[0-9][0-9a-zA-Z,.:-]*\b|[a-z]+\]))?`)
	choices   = regexp.MustCompile(`\b([a-z][a-z0-9-]*(?:, [a-z][a-z0-9-]*)* or [a-z][a-z0-9-]*)\b`)
	oneOf     = regexp.MustCompile(`one of \[([a-z0-9 -]+)\]`)
	butFor    = regexp.MustCompile(`but for ([a-z]+), (-[a-z]+)`) // "All take … and, but for export, -json"
	byDefault = regexp.MustCompile(` \(default .*\)$`)
)

// flagsOf returns the flags that a text names, sorted. What the lines of package
// flag say ("  -o FILE", a tab and the text) wins over what is seen in a call.
func flagsOf(text string) []Flag {
	found := make(map[string]Flag)
	var said []string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if m := flagLine.FindStringSubmatch(line); m != nil {
			f := Flag{Name: m[1], Value: m[2], Text: m[3]}
			if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    \t") {
				f.Text = strings.TrimSpace(lines[i+1])
			}
			f.Choices = choicesIn(f.Value, f.Text)
			found[f.Name], said = f, append(said, f.Name)
			continue
		}
		for _, m := range flagWord.FindAllStringSubmatch(line, -1) {
			f := Flag{Name: m[1], Value: strings.TrimSuffix(m[2], "]"), Choices: choicesIn(m[2], line)}
			if old, ok := found[f.Name]; !ok || old.Value == "" && !slices.Contains(said, f.Name) {
				found[f.Name] = f
			}
		}
	}
	all := make([]Flag, 0, len(found))
	for _, f := range found {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Flag) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// choicesIn returns the words that a value can be: "csv|json", or "debug, info or
// warn" in what is said of it.
func choicesIn(value, text string) []string {
	if strings.Contains(value, "|") {
		return strings.Split(value, "|")
	}
	if m := oneOf.FindStringSubmatch(text); m != nil {
		return strings.Fields(m[1])
	}
	if value == "" || value == "FILE" || value == "TIME" || value == "TEXT" {
		return nil
	}
	if m := choices.FindString(byDefault.ReplaceAllString(text, "")); m != "" {
		return strings.Split(strings.ReplaceAll(m, " or ", ", "), ", ")
	}
	return nil
}

var (
	aligned   = regexp.MustCompile(` {2,}([A-Z\[-])`)
	described = regexp.MustCompile(` {2,}[^ ].*$`)
	optional  = regexp.MustCompile(`\[-[^\]]*\]|-[a-z]+ [A-Z]+`)
	word      = regexp.MustCompile(`\b[A-Z]{2,}\b`)
)

// takes returns the names of what calls take behind the flags.
func takes(calls []string) []string {
	var all []string
	for _, call := range calls {
		// What is said of a call is to its right, and below it.
		shown, _, _ := strings.Cut(call, "\n")
		shown = described.ReplaceAllString(aligned.ReplaceAllString(strings.TrimSpace(shown), " $1"), "")
		if !strings.HasPrefix(call, " ") {
			shown = call // all of "Usage: …", which goes on below
		}
		shown = optional.ReplaceAllString(shown, "")
		for _, w := range word.FindAllString(shown, -1) {
			if !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return all
}
