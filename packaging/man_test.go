package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/packaging/usage"
)

func TestManPages(t *testing.T) {
	bin := programs(t)
	dir := made(t, "man", bin)
	pages, err := filepath.Glob(filepath.Join(dir, "*.[15]"))
	if err != nil || len(pages) != 4 {
		t.Fatalf("%d pages, want 4: %v", len(pages), err)
	}
	t.Run("groff has nothing to say", func(t *testing.T) {
		need(t, "groff", "groff")
		for _, page := range pages {
			out, err := exec.Command("groff", "-ww", "-man", "-z", "-Tutf8", page).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, out)
			}
		}
	})
	t.Run("man shows them", func(t *testing.T) {
		need(t, "man", "man-db")
		for _, page := range pages {
			cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", page)
			cmd.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8", "MANPAGER=cat")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || stderr.Len() > 0 || len(out) < 500 {
				t.Errorf("%s: %v, %d bytes\n%s", filepath.Base(page), err, len(out), stderr.String())
			}
		}
	})
	for _, name := range []string{"tidegate", "tidegate-cloud", "firmware-sim"} {
		text := plain(read(t, filepath.Join(dir, name+".1")))
		p, err := usage.Read(t.Context(), filepath.Join(bin, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Commands {
			everythingOf(t, text, name, c)
		}
	}
	t.Run("heads say how to call, and no more", func(t *testing.T) { headsOf(t, pages) })
	t.Run("examples are calls that there are", func(t *testing.T) {
		examplesOf(t, plain(read(t, filepath.Join(dir, "tidegate.1"))), filepath.Join(bin, "tidegate"))
	})
	t.Run("what the cloud's synopsis names is explained", func(t *testing.T) {
		cloudExplains(t, plain(read(t, filepath.Join(dir, "tidegate-cloud.1"))))
	})
	t.Run("every table and key", func(t *testing.T) {
		everyKey(t, plain(read(t, filepath.Join(dir, "tidegate.toml.5"))), run(t, "", filepath.Join(bin, "tidegate"), "config"))
	})
}

// everythingOf looks for a command, its commands and its flags.
func everythingOf(t *testing.T, page, name string, c usage.Command) {
	t.Helper()
	if !regexp.MustCompile(`(?m)\b` + c.Name + `\b`).MatchString(page) {
		t.Errorf("%s(1) has no command %s", name, c.Name)
	}
	for _, f := range c.Flags {
		if !regexp.MustCompile(`(?m)(^|[\s\[|(])` + f.Name + `\b`).MatchString(page) {
			t.Errorf("%s(1) has no flag %s of %s", name, f.Name, c.Name)
		}
	}
	for _, sub := range c.Subs {
		if !strings.Contains(page, name+" "+c.Name+" "+sub.Name) {
			t.Errorf("%s(1) has no %s %s", name, c.Name, sub.Name)
		}
		everythingOf(t, page, name, sub)
	}
}

// headsOf refuses the head of an entry that goes on with what is said of it: behind a
// bracket, words that are no flag, no choice and no name in capitals.
func headsOf(t *testing.T, pages []string) {
	t.Helper()
	heads := 0
	for _, page := range pages {
		if !strings.HasSuffix(page, ".1") {
			continue
		}
		lines := strings.Split(plain(read(t, page)), "\n")
		for i, line := range lines[:len(lines)-1] {
			if line != ".TP" {
				continue
			}
			heads++
			if runsOn(lines[i+1]) {
				t.Errorf("%s: an explanation is in the head %q: break the line in the help", filepath.Base(page), lines[i+1])
			}
		}
	}
	if heads < 50 || !runsOn("tidegate status [-config FILE] [-json] show what it does") || runsOn("tidegate token add | ls | rm") {
		t.Errorf("of %d heads, those that run on are not seen", heads)
	}
}

var endsInWords = regexp.MustCompile(`[\]A-Z] [a-z]+ [a-z]+[^|]*$`)

func runsOn(head string) bool { return endsInWords.MatchString(head) }

// cloudExplains looks for what the help of the cloud only names.
func cloudExplains(t *testing.T, page string) {
	t.Helper()
	_, options, ok := strings.Cut(page, "\n.SH OPTIONS\n")
	for _, flag := range []string{"-data", "-cert", "-key", "-print"} {
		if !ok || !regexp.MustCompile(`(?m)^(\.B )?"?.*`+flag+`\b`).MatchString(options) {
			t.Errorf("tidegate-cloud(1) does not explain %s", flag)
		}
	}
	for _, file := range []string{"/etc/default/tidegate-cloud", "/etc/tidegate-cloud/credentials"} {
		if _, files, ok := strings.Cut(page, "\n.SH FILES\n"); !ok || !strings.Contains(files, file) {
			t.Errorf("tidegate-cloud(1) has no file %s", file)
		}
	}
}

// examplesOf looks whether the command of each example is there, and takes its flags.
func examplesOf(t *testing.T, page, program string) {
	t.Helper()
	p, err := usage.Read(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(page, "\n.SH EXAMPLES\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	calls := regexp.MustCompile(`(?m)^(?:\.B )?"?tidegate ([a-z-]+)([^"\n]*)"?$`).FindAllStringSubmatch(section, -1)
	if len(calls) < 5 || len(calls) != strings.Count(section, ".TP\n") {
		t.Fatalf("%d examples are understood: %s", len(calls), section)
	}
	for _, call := range calls {
		c := named(p.Commands, call[1])
		if c.Name == "" {
			t.Errorf("there is no command %q", call[1])
		}
		for _, flag := range regexp.MustCompile(` (-[a-z]+)`).FindAllStringSubmatch(call[2], -1) {
			if _, ok := c.Flag(flag[1]); !ok {
				t.Errorf("%s has no flag %s", call[1], flag[1])
			}
		}
	}
}

// everyKey goes through the configuration in its own way, and wants each key under
// the heading of its table, with its default.
func everyKey(t *testing.T, page, config string) {
	sections := make(map[string]string)
	for _, s := range strings.Split(page, "\n.SS ")[1:] {
		head, body, _ := strings.Cut(s, "\n")
		sections[strings.Trim(head, `"`)] += body + "\n"
	}
	table, keys := "", 0
	for line := range strings.Lines(config) {
		if strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "## ") {
			continue
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		switch key, value, ok := strings.Cut(line, " = "); {
		case strings.HasPrefix(line, "["):
			table = line
			if _, ok := sections[table]; !ok {
				t.Errorf("tidegate.toml(5) has no table %s", table)
			}
		case ok && regexp.MustCompile(`^[a-z0-9_]+$`).MatchString(key):
			keys++
			in := sections[table]
			if table == "" {
				in = page
			}
			if !strings.Contains(in, "\n"+key+" = "+value+"\n") {
				t.Errorf("tidegate.toml(5) has no %s = %s in %s", key, value, table)
			}
		}
	}
	if keys < 300 {
		t.Errorf("only %d keys were looked for", keys)
	}
}

// plain takes the fonts and escapes out of a page.
func plain(page string) string {
	return regexp.MustCompile(`\\f[BIR]|\\&`).ReplaceAllString(
		strings.NewReplacer(`\-`, "-", `\e`, `\`, `\(aq`, "'", `\(ga`, "`", `\(ha`, "^", `\(ti`, "~", `\(dq`, `"`, `\[u2026]`, "…").Replace(page), "")
}

// TestUsageIsUnderstood knows a few calls of every kind by heart, so that a parser
// which finds nothing is found out.
func TestUsageIsUnderstood(t *testing.T) {
	bin := programs(t)
	for _, tt := range []struct{ program, command, sub, flag, value, choices, takes string }{
		{"tidegate", "run", "", "-config", "FILE", "", ""},
		{"tidegate", "apply", "", "-confirm", "TIME", "", "FILE"},
		{"tidegate", "init", "", "-config", "FILE", "", "FILE"},
		{"tidegate", "log", "", "-level", "LEVEL", "debug info warn error", ""},
		{"tidegate", "passwd", "", "-delete", "", "", "USER"},
		{"tidegate", "buffer", "export", "-format", "ndjson|csv|packed", "ndjson csv packed", ""},
		{"tidegate", "buffer", "purge", "-yes", "", "", ""},
		{"tidegate", "quarantine", "drop", "-yes", "", "", "ID"},
		{"tidegate", "probe", "", "-send", "string", "", "PORT"},
		{"tidegate-cloud", "run", "", "-listen", "127.0.0.1:8440", "", ""},
		{"tidegate-cloud", "import", "", "-tokens", "FILE", "", "FILE"},
		{"firmware-sim", "fleet", "", "-shape", "string", "json4 json8 nested array plain opaque", ""},
	} {
		p, err := usage.Read(t.Context(), filepath.Join(bin, tt.program))
		if err != nil {
			t.Fatal(err)
		}
		c := named(p.Commands, tt.command)
		if tt.sub != "" {
			c = named(c.Subs, tt.sub)
		}
		f, ok := c.Flag(tt.flag)
		if got := strings.Join(f.Choices, " "); !ok || f.Value != tt.value || got != tt.choices {
			t.Errorf("%s %s %s %s: %v %q, %q, want %q, %q", tt.program, tt.command, tt.sub, tt.flag, ok, f.Value, got, tt.value, tt.choices)
		}
		if got := strings.Join(c.Takes, " "); got != tt.takes {
			t.Errorf("%s %s %s takes %q, want %q", tt.program, tt.command, tt.sub, got, tt.takes)
		}
	}
}

func named(all []usage.Command, name string) usage.Command {
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	return usage.Command{}
}
