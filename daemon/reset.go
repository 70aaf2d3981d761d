package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/erase"
	"github.com/tidegate/tidegate/internal/starts"
)

// resetMark follows the configuration's name. As long as that file is there, a factory
// reset has begun and is not over.
const resetMark = ".reset"

// reset is a factory reset: what is to be erased, and so what its mark says. It is the
// same after any of its steps, so that whoever starts next can go on.
type reset struct {
	config string // the path of the configuration
	// DataDir loses everything that is in it.
	DataDir string `json:"data_dir"`
	// KeepConfig leaves the configuration, and what is beside it, as it is.
	KeepConfig bool `json:"keep_config,omitempty"`
	// Owner is whose DataDir must be, -1 for anybody's: a user who may write the
	// configuration can name any folder in it, and root would erase that.
	Owner int `json:"owner"`
	// Files are those beside the configuration that are erased.
	Files []string `json:"files,omitempty"`
}

// planReset finds out what there is to erase for a configuration, which may be wrong, and
// which is as's.
func planReset(config string, as whole.As, cfg Config, keep bool) (reset, error) {
	config, err := besideLinks(config)
	if err != nil {
		return reset{}, err
	}
	r := reset{config: config, KeepConfig: keep, Owner: -1}
	if choosy(as) {
		r.Owner = as.UID
	}
	if r.DataDir, err = filepath.Abs(cfg.Gateway.DataDir); err == nil {
		err = errors.Join(r.doubt(), r.doubtOwner())
	}
	if err != nil || keep {
		return r, err
	}
	if _, err := survey(config, r.DataDir); err != nil { // or it would not end
		return r, err
	}
	entries, err := os.ReadDir(filepath.Dir(config))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	for _, e := range entries {
		if r.ours(e.Name()) {
			r.Files = append(r.Files, filepath.Join(filepath.Dir(config), e.Name()))
		}
	}
	for _, reach := range cfg.reaches() {
		path, err := besideLinks(reach.path)
		if err == nil && reach.key != "port" && reach.key != "dir" && r.isBeside(path) && !slices.Contains(r.Files, path) {
			r.Files = append(r.Files, path)
			if left := whole.Temp(path); isRegular(left) && !slices.Contains(r.Files, left) {
				r.Files = append(r.Files, left)
			}
		}
	}
	return r, nil
}

// besideLinks returns a path whose folder is named without links.
func besideLinks(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return filepath.Join(dir, filepath.Base(path)), err
}

// ours says whether what has this name beside the configuration is the gateway's, whatever
// the configuration says. A folder that has the program's name has nothing else in it,
// but for what its cloud may have.
func (r reset) ours(name string) bool {
	base := filepath.Base(r.config)
	switch {
	case name == base, name == base+resetMark:
		return false
	case filepath.Base(filepath.Dir(r.config)) == "tidegate":
		return !strings.HasPrefix(name, "cloud") && !strings.HasPrefix(name, "tidegate-cloud")
	}
	return strings.HasPrefix(strings.TrimPrefix(name, "."), base+".") || name == base+"~" // with a dot before it, it was being written
}

// isBeside says whether a file is in the configuration's folder, or in one there.
func (r reset) isBeside(path string) bool {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	root, other := filepath.EvalSymlinks(filepath.Dir(r.config))
	return err == nil && other == nil && (dir == root || strings.HasPrefix(dir, root+"/")) && path != r.config && path != r.config+resetMark
}

// doubtHint is what to do about a folder that is not erased.
const doubtHint = "set gateway.data_dir to the gateway's own folder, or empty this one by hand"

// doubtOwner says whether a user who is not root has named a folder that is not his own.
func (r reset) doubtOwner() error {
	is, err := folderOf(r.DataDir)
	if err != nil || r.Owner < 0 || is.UID == r.Owner {
		return nil
	}
	return fmt.Errorf("data_dir is %s, which user %d owns, and the configuration that says so user %d — hint: %s", r.DataDir, is.UID, r.Owner, doubtHint)
}

// doubt says why a folder is certainly not a gateway's alone.
func (r reset) doubt() error {
	if err := r.doubtSystem(); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(foreign(entries)) > 0 && !slices.ContainsFunc(entries, isOwn) {
		return fmt.Errorf("nothing in data_dir, which is %s, is a gateway's — hint: %s", r.DataDir, doubtHint)
	}
	return nil
}

// doubtSystem refuses folders of the system, and that of the configuration.
func (r reset) doubtSystem() error {
	system := []string{"/", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log", "/var/tmp"}
	real, err := filepath.EvalSymlinks(r.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case slices.Contains(system, r.DataDir), slices.Contains(system, real):
		return fmt.Errorf("data_dir is %s, which the gateway has not for itself — hint: %s", r.DataDir, doubtHint)
	case strings.HasPrefix(r.config, real+"/"), strings.HasPrefix(r.config, r.DataDir+"/"):
		return fmt.Errorf("the configuration %s lies in data_dir — hint: move it out of there", r.config)
	}
	return nil
}

// foreign are the names in data_dir that no gateway makes.
func foreign(entries []fs.DirEntry) (names []string) {
	for _, e := range entries {
		if n := e.Name(); !isOwn(e) && n != "lost+found" {
			names = append(names, n)
		}
	}
	return names
}

// isOwn says whether something in data_dir has a name that a gateway gives, a power cut
// while it writes one of its files included.
func isOwn(e fs.DirEntry) bool {
	own := []string{"journal", "links", identityFile, ownCertificate, appliedFile, "operator.json", "operator.json.damaged", "tokens.json", "tokens.json.damaged",
		"setup-code", "starts.json", "crash.txt", starts.CrashFile, goodFile, "admin.sock"}
	return slices.ContainsFunc(own, func(name string) bool { return e.Name() == name || e.Name() == whole.Temp(name) })
}

// steps do it. The mark is first, and goes last; secrets go before readings; and until
// the rest is gone, the configuration says where it was.
func (r reset) steps() []initStep {
	all := []initStep{{"the mark of a reset that has begun", r.mark}}
	add := func(what string, do func() error) { all = append(all, initStep{what, do}) }
	for _, path := range r.Files {
		add(path, func() error { return r.eraseBeside(path) })
	}
	if store, ok := r.secrets(); ok {
		// The unit wants the folder to be there.
		add("what is in "+store, func() error { return erase.Folder(store, os.Geteuid(), nil) })
	}
	add("what is in "+r.DataDir, func() error {
		return erase.Folder(r.DataDir, r.Owner, func(name string) bool { return name == "lost+found" })
	})
	if !r.KeepConfig {
		add(r.config, r.shipped)
	}
	return append(all, initStep{"the end of the reset", func() error { return r.eraseBeside(r.config + resetMark) }})
}

// secrets is the folder of secrets, if there is one that is erased. That of others is
// theirs.
func (r reset) secrets() (store string, ok bool) {
	store = credentialStore(r.config)
	is, kind, err := ownerOf(store)
	return store, !r.KeepConfig && err == nil && kind == fs.ModeDir && is.UID == os.Geteuid()
}

// eraseBeside erases what is in the folder of the configuration, or in one there. Whose
// that is may put a link in its place at any time.
func (r reset) eraseBeside(path string) error {
	name, err := filepath.Rel(filepath.Dir(r.config), path)
	if err != nil {
		return err
	}
	return erase.Path(filepath.Dir(r.config), name)
}

func (r reset) mark() error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return whole.Write(r.config+resetMark, append(text, '\n'), whole.Mine(0o644))
}

// shippedConfig is what the package installs, to the letter: so an upgrade does not take it
// for somebody's.
const shippedConfig = `# The configuration of this gateway. What is not here has its default, so an empty file
# is a working gateway. All keys, their defaults and what they mean:
#   man tidegate.toml, or /usr/share/doc/tidegate/examples/tidegate.toml
# After a change: "tidegate check", then "tidegate reload". Or let the page change it.
schema = 1
`

// shipped makes the configuration what the package installs.
func (r reset) shipped() error {
	g, err := survey(r.config, r.DataDir)
	if err != nil {
		return err
	}
	return whole.Write(r.config, []byte(shippedConfig), g.own)
}

// do does the steps, each of which before may forbid, if it is not nil, and says of each
// that erases something that it did, or of one that failed and those behind it that they
// did not.
func (r reset) do(out io.Writer, before func(what string) error) error {
	c := initCall{before: before}
	steps := r.steps() // of which the first makes the mark, and the last takes it away
	for i, step := range steps {
		if err := c.do(step); err != nil {
			for _, left := range steps[max(i, 1) : len(steps)-1] {
				fmt.Fprintf(out, "not erased, or not all of it: %s\n", left.what)
			}
			return err
		}
		switch {
		case i == 0 || i == len(steps)-1:
		case step.what == r.config:
			fmt.Fprintf(out, "as shipped: %s\n", step.what)
		default:
			fmt.Fprintf(out, "erased: %s\n", step.what)
		}
	}
	return nil
}

// finishReset ends a reset that a power cut has interrupted, if there is one. Only its own
// mark counts for a user: others may write the folder, and what a mark says is erased.
func finishReset(config string, out io.Writer) error {
	config, err := besideLinks(config)
	if err != nil {
		return err
	}
	is, kind, err := ownerOf(config + resetMark)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err == nil && (kind != 0 || is.UID != os.Geteuid()) {
		err = fmt.Errorf("%s: a factory reset is not over that another user has begun — hint: run \"sudo tidegate init\"; if nobody has begun one, remove this file", config+resetMark)
	}
	if err != nil {
		return err
	}
	text, is, err := readOwned(config + resetMark)
	if err == nil && is.UID != os.Geteuid() {
		err = erase.ErrOwner // since it was looked at
	}
	if err != nil {
		return err
	}
	r := reset{config: config, Owner: -1}
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("%s: %w — hint: remove this file, and reset the gateway again", config+resetMark, err)
	}
	if err := r.doubtFiles(); err != nil {
		return err
	}
	if err := r.do(out, nil); err != nil {
		return fmt.Errorf("the factory reset is not over yet: %w", err)
	}
	_, err = fmt.Fprintln(out, "a factory reset that was interrupted is over: this is a new gateway")
	return err
}

// doubtFiles looks at what was written down once more, as far as it can be known now.
func (r reset) doubtFiles() error {
	if !filepath.IsAbs(r.DataDir) {
		return fmt.Errorf("%s: %q is no data_dir — hint: remove this file, and reset the gateway again", r.config+resetMark, r.DataDir)
	}
	if err := errors.Join(r.doubtSystem(), r.doubtOwner()); err != nil {
		return err
	}
	for _, path := range r.Files {
		if _, err := os.Lstat(path); err == nil && !r.isBeside(path) {
			return fmt.Errorf("%s: %s is not beside the configuration — hint: remove this file, and reset the gateway again", r.config+resetMark, path)
		}
	}
	return nil
}
