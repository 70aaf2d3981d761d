package daemon

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/overnats"
	"github.com/tidegate/tidegate/internal/conf"
)

// NATSCommands is [[command.nats]]: commands from a stream of NATS JetStream.
type NATSCommands struct {
	Downstream
	// URLs are the servers, tried in their order.
	URLs         []string `toml:"urls"`
	Username     string   `toml:"username"`
	PasswordFile string   `toml:"password_file"`
	// TokenFile, NkeyFile and CredsFile are other ways to log in.
	TokenFile string `toml:"token_file"`
	NkeyFile  string `toml:"nkey_file"`
	CredsFile string `toml:"creds_file"`
	// Stream holds the commands, Subject chooses those for this gateway, Durable names
	// its consumer; Answers is where answers go. {gateway} is the gateway's name, and
	// an empty Durable is, with tidegate- before it.
	Stream  string `toml:"stream"`
	Subject string `toml:"subject"`
	Durable string `toml:"durable"`
	Answers string `toml:"answers"`
	// InboxPrefix is what the subjects of the server's replies begin with.
	InboxPrefix string `toml:"inbox_prefix"`
	// AckWait is after how long a command that was not acknowledged comes again.
	AckWait conf.Duration `toml:"ack_wait"`
	// TLSFirst shakes hands before the server has said anything.
	TLSFirst bool `toml:"tls_first"`
	// Keepalive is how often an idle connection is tried.
	Keepalive conf.Duration `toml:"keepalive"`
}

// SetDefaults makes n what an empty [[command.nats]] would be.
func (n *NATSCommands) SetDefaults() {
	*n = NATSCommands{
		Downstream: defaultDownstream(), Stream: "COMMANDS", Subject: "commands.{gateway}", Answers: "answers.{gateway}",
		InboxPrefix: "_INBOX", AckWait: conf.Duration(30 * time.Second), Keepalive: conf.Duration(time.Minute),
	}
}

func (n NATSCommands) target() string {
	if len(n.URLs) == 0 {
		return ""
	}
	return n.URLs[0]
}

func (n NATSCommands) secretFiles() []string { return []string{n.PasswordFile, n.TokenFile} }

// login is the same as an uplink's.
func (n NATSCommands) login() NATSUplink {
	return NATSUplink{
		Upstream: n.upstream(), URLs: n.URLs, Username: n.Username, PasswordFile: n.PasswordFile,
		TokenFile: n.TokenFile, NkeyFile: n.NkeyFile, CredsFile: n.CredsFile, TLSFirst: n.TLSFirst,
	}
}

func (n NATSCommands) validate(r refuse, key string) {
	if len(n.URLs) == 0 {
		r(key+".urls", `write for example ["tls://nats.example"]`, "is missing")
	}
	for i, text := range n.URLs {
		at := fmt.Sprintf("%s.urls[%d]", key, i)
		n.upstream().validateURL(r, at, text, "tls://nats.example", "nats", "tls")
		validateBare(r, at, text, "write host and port only")
	}
	n.login().validateLogin(r, key)
	if n.Stream == "" || strings.ContainsAny(n.Stream, ".*> \t") {
		r(key+".stream", `write for example "COMMANDS"`, "%q is no name of a stream", n.Stream)
	}
	if strings.ContainsAny(n.Durable, ".*> \t") {
		r(key+".durable", "use letters, digits and dashes", "%q is no name of a consumer", n.Durable)
	}
	if n.Subject == "" || strings.ContainsAny(n.Subject, " \t") {
		r(key+".subject", `write for example "commands.{gateway}"`, "%q is no subject", n.Subject)
	}
	if strings.ContainsAny(n.Answers, "*> \t") {
		r(key+".answers", `write for example "answers.{gateway}", or "" for no answers`, "%q cannot be published to", n.Answers)
	}
	if n.InboxPrefix == "" || strings.ContainsAny(n.InboxPrefix, "*> \t") {
		r(key+".inbox_prefix", `write for example "_INBOX"`, "%q is no subject", n.InboxPrefix)
	}
	if n.TLSFirst && !n.login().secure() {
		r(key+".tls_first", "use tls://", "there is no TLS to begin with: no url begins with tls://")
	}
	between(r, key+".ack_wait", n.AckWait, conf.Duration(time.Second), conf.Duration(time.Hour))
	between(r, key+".keepalive", n.Keepalive, conf.Duration(5*time.Second), conf.Duration(time.Hour))
}

func (n NATSCommands) courier(w way) (command.Courier, error) {
	password, err := conf.ReadSecretIf(n.PasswordFile)
	if err != nil {
		return nil, err
	}
	token, err := conf.ReadSecretIf(n.TokenFile)
	if err != nil {
		return nil, err
	}
	// A dot would make two of one level, and a consumer's name has none.
	name := strings.NewReplacer(".", "_", " ", "_", "*", "_", ">", "_").Replace(w.gateway)
	named := func(text string) string { return strings.ReplaceAll(text, "{gateway}", name) }
	cfg := overnats.Config{
		TLS: w.tls, Secure: n.login().secure(), TLSFirst: n.TLSFirst, Dial: onelinkDial(w.dial),
		Username: n.Username, Password: password, Token: token, NkeyFile: n.NkeyFile, CredsFile: n.CredsFile,
		Stream: n.Stream, Subject: named(n.Subject), Durable: named(cmp.Or(n.Durable, "tidegate-{gateway}")), Answers: named(n.Answers),
		InboxPrefix: n.InboxPrefix, AckWait: time.Duration(n.AckWait), Keepalive: time.Duration(n.Keepalive), Name: w.gateway + "-commands",
	}
	for _, text := range n.URLs {
		at, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		cfg.Servers = append(cfg.Servers, hostPort(at, "4222"))
	}
	return overnats.New(cfg, w.log), nil
}
