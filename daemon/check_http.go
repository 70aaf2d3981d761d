package daemon

// http looks at the door for devices that POST. It says nothing of one that is
// off, as it is by default.
func (k *checklist) http(h HTTP, adminSocket string) {
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
}

func (k *checklist) tokensFile(h HTTP) {
	tokens, err := h.tokens()
	k.list(guests{
		table: "ingest.http", path: h.TokenFile, of: "tokens",
		unread: "check the path, and let the user who runs the gateway read the file",
		add:    `add a line "NAME TOKEN [TOPIC...]" for each device; "openssl rand -hex 16" makes a token`,
	}, tokens, err)
}
