package daemon

import (
	"os"
	"strings"
	"time"
)

// http looks at the door for devices that POST. It says nothing of one that is
// off, as it is by default.
func (k *checklist) http(h HTTP, adminSocket string, now time.Time) {
	if h.Listen == "" {
		return
	}
	k.listener("ingest.http", h.Listen, adminSocket)
	if !h.hasUsers() {
		k.ok("ingest.http lets everybody in who reaches it")
	}
	if h.PasswordFile != "" {
		k.passwordFile("ingest.http", h.PasswordFile)
	}
	if h.TokenFile != "" {
		k.tokensFile(h)
	}
	if h.TLSCert != "" {
		k.tlsFiles("ingest.http", h.tlsFiles(), now)
	}
}

func (k *checklist) tokensFile(h HTTP) {
	tokens, err := h.tokens()
	if err != nil {
		what, hint, told := strings.Cut(err.Error(), " — hint: ")
		if !told {
			hint = "check the path, and let the user who runs the gateway read the file"
		}
		k.fail(hint, "ingest.http: %s", what)
		return
	}
	if info, err := os.Stat(h.TokenFile); err == nil && isOpen(info) {
		k.warn("chmod o-rwx "+h.TokenFile, "ingest.http: everybody on this machine can read %s", h.TokenFile)
		return
	}
	if tokens.Len() == 0 {
		k.warn(`add a line "NAME TOKEN [TOPIC...]" for each device; "openssl rand -hex 16" makes a token`, "ingest.http: %s has no tokens", h.TokenFile)
		return
	}
	k.ok("ingest.http: tokens in %s: %d", h.TokenFile, tokens.Len())
}
