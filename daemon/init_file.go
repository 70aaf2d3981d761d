package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/login"
	"github.com/tidegate/tidegate/internal/passwd"
)

const (
	// maxInitNames bounds each table of a provisioning file: every password in it is
	// hashed when it is written, which takes a small processor a tenth of a second.
	maxInitNames = 100
)

// initFile is what a provisioning file says beside the configuration. All of it may be
// secret, so these are texts that no problem shows.
type initFile struct {
	// Credential are secrets, by the name that "credential:NAME" has, File other files
	// beside the configuration.
	Credential map[string]string `toml:"credential"`
	File       map[string]string `toml:"file"`
	// Operator has password or password_hash, Users the same by the name of an MQTT user.
	Operator map[string]string `toml:"operator"`
	Users    map[string]string `toml:"users"`
}

// initTables are those of initFile; what is in no other is the configuration's.
func initTables() []string { return []string{"credential", "file", "operator", "users"} }

// provision is a provisioning file that is understood. Its passwords are as they stand in
// it: they are hashed by the steps that write them, because a file may be there at every
// boot, as systemd's credential is, and was applied at the first.
type provision struct {
	initFile
	cfg     Config
	gateway string // the gateway's name
	config  []byte // the text of the configuration; nil leaves what there is
	done    []byte // the file without its secrets
}

// parseInit understands the text of a provisioning file, of this name, for a machine
// whose configuration is at path and says now, or would not parse because of wrong. Its
// error is of type conf.Problems, and shows no secret of the tables above.
func parseInit(name string, text []byte, path string, now Config, wrong error) (provision, error) {
	pieces, err := conf.Pieces(name, text)
	if err != nil {
		return provision{}, err
	}
	p := provision{cfg: now}
	ours, rest := p.divide(pieces)
	doc := conf.Decode(name, ours, &p.initFile)
	var problems conf.Problems
	if p.config != nil {
		p.cfg, wrong = Parse(name, withSecrets(path, rest, p.Credential))
	}
	if wrong != nil && !errors.As(wrong, &problems) {
		return provision{}, wrong
	}
	for i, p := range problems { // the configuration does not know of our tables
		if hint := conf.Suggest(p.Key, initTables()); p.What == "unknown key" && strings.HasPrefix(hint, "did you mean") {
			problems[i].Hint = hint
		}
	}
	p.validate(doc.Refuse, path, wrong == nil)
	if more := conf.Problems(nil); errors.As(doc.Err(), &more) {
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return provision{}, problems
	}
	return p, nil
}

// secretName matches a secret that a configuration names.
var secretName = regexp.MustCompile(`["']credential:([\w.-]+)["']`)

// withSecrets names files in the place of the secrets that there are, or that are given:
// systemd hands those to the gateway, and not to who writes them.
func withSecrets(config string, text []byte, given map[string]string) []byte {
	return secretName.ReplaceAllFunc(text, func(found []byte) []byte {
		name := string(secretName.FindSubmatch(found)[1])
		path := filepath.Join(credentialStore(config), name)
		if _, ok := given[name]; !ok && !isRegular(path) {
			return found
		}
		return strconv.AppendQuote(nil, path)
	})
}

// divide returns the text of our tables, and the rest, each with blanks in the place of
// the other, so that what is wrong is told with its line.
func (p *provision) divide(pieces []conf.Piece) (ours, rest []byte) {
	var kept bytes.Buffer
	settings := false
	p.done = fmt.Appendf(nil, "# This was applied by tidegate %s. *** stands for secrets.\n", Version)
	for _, piece := range pieces {
		all := slices.Concat(piece.Before, piece.Body, piece.After)
		if slices.Contains(initTables(), piece.Table) {
			ours, rest = append(ours, all...), append(rest, blank(all)...)
			p.done = append(p.done, scrubbed(piece)...)
			continue
		}
		settings = settings || piece.Table != ""
		ours, rest = append(ours, blank(all)...), append(rest, all...)
		kept.Write(all)
		p.done = append(p.done, all...)
	}
	if settings {
		p.config = append([]byte("# Made by \"tidegate init\".\n"), kept.Bytes()...)
	}
	return ours, rest
}

// blank returns as many lines of blanks.
func blank(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return r
		}
		return ' '
	}, text)
}

// scrubbed returns a piece of our tables without secrets, which comments may hold, too.
func scrubbed(p conf.Piece) []byte {
	switch {
	case p.Key == "":
		return []byte("\n[" + p.Path + "]\n")
	case p.Key == p.Table && p.Path == "": // all of the table, in braces
		return []byte("# " + p.Key + " = { *** }\n")
	case p.Table == "file":
		return append(bytes.TrimRight(p.Body, "\r\n"), '\n')
	}
	return append(bytes.Clone(p.Name), " = \"***\"\n"...)
}

// validate checks what is beside the configuration, and together with it if that is
// valid.
func (p *provision) validate(r refuse, path string, valid bool) {
	if valid {
		var err error
		if p.gateway, err = p.cfg.Gateway.Identity(); err != nil {
			r.because("gateway.id", err)
		}
	}
	for table, names := range map[string]map[string]string{"credential": p.Credential, "file": p.File, "users": p.Users, "operator": p.Operator} {
		if len(names) > maxInitNames {
			r(table, "split it, or leave out what is not used", "has %d names, and %d is the most", len(names), maxInitNames)
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Credential)) {
		key := conf.Path("credential", name)
		r.fileName(key, name, "")
		if size := len(p.Credential[name]); size == 0 || size > conf.MaxSecretBytes {
			r(key, fmt.Sprintf("a secret has 1 to %d bytes", conf.MaxSecretBytes), "has %d bytes", size)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.File)) {
		r.fileName(conf.Path("file", name), name, filepath.Base(path))
	}
	p.validateOperator(r)
	if valid {
		p.validateUsers(r, path)
	}
}

// fileName refuses what cannot be the name of a file of ours; those of the configuration
// and of what belongs to it begin with the last.
func (r refuse) fileName(key, name, config string) {
	switch {
	case !isName(name) || name[0] == '.':
		r(key, nameHint+", no dot at the beginning", "%q is no name of a file here", name)
	case config != "" && strings.HasPrefix(name, config):
		r(key, "choose another name; the configuration itself stands in this file as it is", "%q has another use", name)
	}
}

func (p *provision) validateOperator(r refuse) {
	known := []string{"password", "password_hash"}
	for _, key := range slices.Sorted(maps.Keys(p.Operator)) {
		if !slices.Contains(known, key) {
			r(conf.Path("operator", key), conf.Suggest(key, known), "unknown key")
		}
	}
	password, plain := p.Operator["password"]
	hashed, given := p.Operator["password_hash"]
	switch {
	case plain && given:
		r("operator.password", "take one of the two out", "there is a password_hash, too")
	case given:
		if _, err := passwd.ParseHash(hashed); err != nil {
			r("operator.password_hash", `write what follows the name in a line of "tidegate passwd"`, "is no hash of the kinds $7$ and $6$")
		}
	case plain:
		if err := login.Fit(p.gateway, password); err != nil {
			r.because("operator.password", err)
		}
	case p.Operator != nil && len(p.Operator) == 0:
		r("operator", "write password or password_hash into it, or take it out", "says nothing")
	}
}

// validateUsers checks the users, and that the configuration names a file for them.
func (p *provision) validateUsers(r refuse, path string) {
	if len(p.Users) == 0 {
		return
	}
	dir, file := filepath.Dir(path), p.cfg.Ingest.MQTT.PasswordFile
	name := filepath.Base(file)
	_, twice := p.File[name]
	if file == "" || filepath.Clean(file) != filepath.Join(dir, name) || twice || strings.HasPrefix(name, filepath.Base(path)) {
		r("users", fmt.Sprintf("write password_file = %q into [ingest.mqtt]", filepath.Join(dir, "passwords")),
			"there are users, and ingest.mqtt.password_file is no file for them beside the configuration")
		return
	}
	for _, user := range slices.Sorted(maps.Keys(p.Users)) {
		if err := passwd.CheckLine(user, p.Users[user]); err != nil {
			r.because(conf.Path("users", user), err)
		}
	}
}
