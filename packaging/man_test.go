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
