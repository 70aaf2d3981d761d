package daemon

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/ontrial"
)

const (
	// identityFile, in data_dir, is the name under which its readings went out.
	identityFile = "identity.json"
	// machineWord stands, in gateway.id, for the name that is made of the machine's id.
	machineWord = "{machine}"
	// machineLike is a name of that kind, for who checks what it is put into.
	machineLike = "tg-0123456789ab"
)

// machine is what tells this machine from others.
type machine struct {
	idFile   string // as of machine-id(5)
	hostname func() (string, error)
}

func thisMachine() machine { return machine{"/etc/machine-id", os.Hostname} }

// derived returns "tg-" and twelve digits: the beginning of what
// sd_id128_get_machine_app_specific(3) makes of the machine's id for this application,
// which tells nobody that id. passing says that the id is one of this boot only. Where
// there is none, as in most containers, it is an error.
func (m machine) derived() (name string, passing bool, err error) {
	text, err := ontrial.Read(m.idFile)
	if err != nil {
		return "", false, err
	}
	id, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(id) != 16 || bytes.Equal(id, make([]byte, 16)) { // "uninitialized", or empty
		return "", false, fmt.Errorf("%s holds no id", m.idFile)
	}
	application := [16]byte{0x25, 0x1c, 0x0f, 0xb4, 0x46, 0x1f, 0x81, 0xbb, 0x49, 0xdb, 0x61, 0x3b, 0xea, 0x73, 0x52, 0x9f}
	sum := hmac.New(sha256.New, id)
	sum.Write(application[:])
	return "tg-" + hex.EncodeToString(sum.Sum(nil)[:6]), m.passing(), nil
}

// passing says that systemd has put an id of this boot over a file that it could not
// write: from /run, on a root that is read-only.
func (m machine) passing() bool {
	var file, folder unix.Statfs_t
	if unix.Statfs(m.idFile, &file) != nil || unix.Statfs(filepath.Dir(m.idFile), &folder) != nil {
		return false
	}
	return file.Type == unix.TMPFS_MAGIC && folder.Type != unix.TMPFS_MAGIC
}

// keptIdentity is identity.json.
type keptIdentity struct {
	ID string `json:"id"`
	// Machine is the derived name of the machine that wrote it; empty if it had none.
	Machine string `json:"machine,omitempty"`
}

// identity is who the gateway is, and what there is to be said about that.
type identity struct {
	keptIdentity
	before keptIdentity // empty on a new gateway
	// doubt says what is not as it should be, and what to do.
	doubt string
}

// Identity returns the gateway's name in the cloud: ID, or else what data_dir remembers
// from this machine, or else a name that is made of the machine's id.
func (g Gateway) Identity() (string, error) {
	is, err := g.identify(thisMachine())
	return is.ID, err
}

// identify decides as docs/decisions/0025 says.
func (g Gateway) identify(m machine) (identity, error) {
	is := identity{}
	before, err := readIdentity(g.DataDir)
	is.before = before
	known := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		is.doubt = fmt.Sprintf("which name this gateway had is not known any more: %v — hint: set gateway.id if it had another", err)
	}
	if errors.Is(err, fs.ErrPermission) && g.ID == "" {
		is.doubt = fmt.Sprintf("whether this gateway has a name that it remembers cannot be seen: %v — hint: try it with sudo", err)
	}
	name, passing, none := m.derived()
	switch {
	case none == nil && !passing:
		is.Machine = name
	case before.Machine != "":
		is.Machine = before.Machine
	case none == nil:
		is.Machine = name
	}
	elsewhere := known && before.Machine != "" && before.Machine != is.Machine
	switch {
	case g.ID != "" && (is.Machine != "" || !strings.Contains(g.ID, machineWord)):
		is.ID = strings.ReplaceAll(g.ID, machineWord, is.Machine)
	case g.ID == "" && known && !elsewhere:
		is.ID = before.ID
		if host, _ := m.hostname(); is.Machine == "" && host == is.ID {
			is.doubt = calledByHost(is.ID, none)
		}
	case is.Machine != "":
		is.ID = is.Machine
	default:
		host, err := hostName(m)
		if err != nil {
			return is, err
		}
		if is.ID = strings.ReplaceAll(g.ID, machineWord, host); g.ID == "" {
			is.ID = host
		}
		is.doubt = calledByHost(is.ID, none)
	}
	if elsewhere && g.ID == "" {
		is.doubt = fmt.Sprintf("data_dir is a copy of another machine's, or came from it: that was %s, this is %s — hint: set gateway.id = %q if this takes the other's place", before.ID, is.ID, before.ID)
	}
	return is, nil
}

func calledByHost(id string, why error) string {
	return fmt.Sprintf("this machine has no id (%v), so the gateway is called by its host name: %s — hint: set gateway.id to a name that no other gateway has", why, id)
}

func hostName(m machine) (string, error) {
	host, err := m.hostname()
	switch {
	case err != nil:
		return "", fmt.Errorf("name the gateway: %w — hint: set gateway.id", err)
	case !isName(host):
		return "", fmt.Errorf("name the gateway: the host name %q is no valid id — hint: set gateway.id", host)
	}
	return host, nil
}

func readIdentity(dir string) (kept keptIdentity, err error) {
	text, err := ontrial.Read(filepath.Join(dir, identityFile))
	if err != nil {
		return kept, err
	}
	if err := json.Unmarshal(text, &kept); err != nil || !isName(kept.ID) {
		return keptIdentity{}, fmt.Errorf("%s is damaged", identityFile)
	}
	return kept, nil
}

// keep remembers the name in the folder, which the caller has locked, and says what is
// to be said.
func (is identity) keep(dir string, log *slog.Logger) {
	if is.doubt != "" {
		what, hint, _ := strings.Cut(is.doubt, " — hint: ")
		log.Warn(what, "gateway", is.ID, "hint", hint)
	}
	if is.keptIdentity == is.before {
		return
	}
	if was := is.before.ID; was != "" && was != is.ID {
		log.Warn("the gateway has another name now: what is on flash goes out under it, and counts as another gateway's over there", "was", was, "is", is.ID)
	}
	text, err := json.Marshal(is.keptIdentity)
	if err == nil {
		err = whole.Write(filepath.Join(dir, identityFile), append(text, '\n'), whole.Mine(0o600))
	}
	if err != nil {
		log.Warn("the gateway's name could not be written down: it is looked for again at the next start", "err", err)
	}
}
