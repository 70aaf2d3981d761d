package daemon

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/inorder"
)

// hidden stands for what is not shown.
const hidden = "***"

// redactor shows a configuration without its secrets, remembers them, and takes
// them out of everything else.
type redactor struct{ secrets []string }

// config returns what a configuration says beside the defaults. Secrets are in files
// of their own, but people put them into other places as well.
func (r *redactor) config(c Config) []byte {
	return conf.Show(c, Default(), r.change)
}

// change hides what may be a secret in the text of a key.
func (r *redactor) change(key, text string) string {
	switch {
	case text == "":
		return text
	case strings.HasSuffix(key, "_file"), key == "tls_key":
		r.readFile(text)
		return text
	case key == "username", // some brokers take a token for one
		key == "request", key == "init", key == "confirm", key == "ack": // devices have PINs
		return r.hide(text)
	case key == "identify" && !strings.HasPrefix(text, "/"):
		return r.hide(text)
	case key == "headers":
		name, value, _ := strings.Cut(text, ":")
		return name + ": " + r.hide(strings.TrimSpace(value))
	case strings.Contains(text, "://"):
		return r.changeURL(text)
	}
	return r.hideTokens(text)
}

// hide notes a secret, and what stands in it behind a word: "Bearer x", "PIN=x".
func (r *redactor) hide(secret string) string {
	r.secrets = append(r.secrets, secret)
	if at := strings.LastIndexAny(secret, " =:"); at >= 0 {
		r.secrets = append(r.secrets, secret[at+1:])
	}
	return hidden
}

// changeURL hides who logs in, the values of the query, and what looks like a token.
func (r *redactor) changeURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return r.hide(text)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		for _, part := range []string{u.User.Username(), password} {
			if part != "" {
				r.hide(part)
			}
		}
		u.User = url.User(hidden)
	}
	if query := u.Query(); len(query) > 0 {
		var names []string
		for name, values := range query {
			for _, value := range values {
				r.hide(value)
			}
			names = append(names, name+"="+hidden)
		}
		slices.Sort(names)
		u.RawQuery = strings.Join(names, "&")
	}
	if u.Fragment != "" {
		u.Fragment = r.hide(u.Fragment)
	}
	place := u.Scheme + "://"
	if u.User != nil {
		place += hidden + "@"
	}
	place += u.Host + r.hideTokens(u.Path)
	if u.RawQuery != "" {
		place += "?" + u.RawQuery
	}
	return place
}

// withoutQuery hides the query of a URL, in which some servers want a key: where a
// link goes is for everybody who may look.
func withoutQuery(target string) string {
	if place, _, ok := strings.Cut(target, "?"); ok {
		return place + "?" + hidden
	}
	return target
}

// tokenLike finds stretches that may be tokens: sixteen letters and digits or more.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)

// hideTokens hides what looks like a token within a text: letters and digits in a
// mixture that is nobody's word.
func (r *redactor) hideTokens(text string) string {
	return tokenLike.ReplaceAllStringFunc(text, func(word string) string {
		turns, last := 0, byte('x')
		for _, c := range []byte(word) {
			if kind := kindOf(c); kind != last {
				turns, last = turns+1, kind
			}
		}
		if turns*3 < len(word) { // "temperature_sensor_1" has few
			return word
		}
		return r.hide(word)
	})
}

func kindOf(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return '0'
	case 'A' <= c && c <= 'Z':
		return 'A'
	}
	return 'a'
}

// readFile notes what stands in a file with secrets: a line, or what follows a name
// in it. Names are those of devices, and stay. A file that cannot be read cannot
// have been said either.
func (r *redactor) readFile(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, conf.MaxSecretBytes)) // as above
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		r.secrets = append(r.secrets, line)
		if _, key, ok := strings.Cut(line, ":"); ok {
			r.secrets = append(r.secrets, key)
		}
		if words := strings.Fields(line); len(words) > 1 {
			r.secrets = append(r.secrets, words[1])
		}
	}
}

const (
	// shortest is how long a secret must be to be looked for everywhere: what is
	// shorter is in every text by chance.
	shortest = 6
	// mostSecrets bounds how many are.
	mostSecrets = 4096
)

// scrubber returns what takes the secrets out of a text. Words that the program has
// itself, and everybody can read, stay.
func (r *redactor) scrubber() *strings.Replacer {
	var all []string
	example := ExampleConfig()
	for _, secret := range r.secrets[:min(len(r.secrets), mostSecrets)] {
		if len(secret) < shortest || strings.Contains(example, secret) {
			continue
		}
		all = append(all, secret, url.QueryEscape(secret), url.PathEscape(secret))
		if text, err := json.Marshal(secret); err == nil {
			all = append(all, strings.Trim(string(text), `"`))
		}
	}
	inorder.Sort(all, func(a, b string) int { return len(b) - len(a) }) // the whole before its part
	var pairs []string
	for _, secret := range slices.Compact(all) {
		pairs = append(pairs, secret, hidden)
	}
	return strings.NewReplacer(pairs...)
}
