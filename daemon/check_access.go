package daemon

import "github.com/tidegate/tidegate/internal/passwd"

// access looks at the files that say who may connect to the broker.
func (k *checklist) access(m MQTT) {
	if m.Listen == "" {
		return
	}
	if !m.hasUsers() {
		k.ok("ingest.mqtt lets everybody in who reaches it")
	}
	if m.PasswordFile != "" {
		k.passwordFile("ingest.mqtt", m.PasswordFile)
	}
}

func (k *checklist) passwordFile(table, path string) {
	users, err := passwd.Read(path)
	k.list(guests{
		table: table, path: path, of: "users",
		unread: `set passwords with "tidegate passwd", and let the user who runs the gateway read the file`,
		add:    `add users with "tidegate passwd"`,
	}, users, err)
}
