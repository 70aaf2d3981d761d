package daemon

import (
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/overamqp"
	"github.com/tidegate/tidegate/internal/conf"
)

// AMQPCommands is [[command.amqp]]: commands from a queue of RabbitMQ.
type AMQPCommands struct {
	Downstream
	URL          string `toml:"url"`
	VHost        string `toml:"vhost"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// External logs in with TLSCert instead of a password.
	External bool `toml:"external"`
	// Queue is consumed; Declare makes it if it is missing.
	Queue   string `toml:"queue"`
	Declare bool   `toml:"declare"`
	// AnswerExchange and Answers are where answers go, a routing key; {gateway} is the
	// gateway's name. Empty Answers stand for none.
	AnswerExchange string `toml:"answer_exchange"`
	Answers        string `toml:"answers"`
	// Heartbeat is how often an idle connection shows life.
	Heartbeat conf.Duration `toml:"heartbeat"`
}

// SetDefaults makes a what an empty [[command.amqp]] would be.
func (a *AMQPCommands) SetDefaults() {
	*a = AMQPCommands{
		Downstream: defaultDownstream(), VHost: "/", Queue: "tidegate.{gateway}.commands", Declare: true,
		Answers: "tidegate.{gateway}.answers", Heartbeat: conf.Duration(time.Minute),
	}
}

func (a AMQPCommands) target() string { return a.URL }

func (a AMQPCommands) secretFiles() []string { return []string{a.PasswordFile} }

func (a AMQPCommands) validate(r refuse, key string) {
	a.upstream().validateAMQP(r, key, a.URL, a.Username, a.PasswordFile, a.External)
	if a.VHost == "" {
		r(key+".vhost", `write "/" for the one that every server has`, "is empty")
	}
	if a.Queue == "" || len(a.Queue) > 200 || strings.HasPrefix(a.Queue, "amq.") {
		r(key+".queue", `write for example "tidegate.{gateway}.commands"`, "%q cannot be a queue of commands", a.Queue)
	}
	if a.AnswerExchange != "" && a.Answers == "" {
		r(key+".answers", "write the routing key of answers, or take out answer_exchange", "is empty, and there is an exchange")
	}
	between(r, key+".heartbeat", a.Heartbeat, conf.Duration(5*time.Second), conf.Duration(time.Hour))
}

func (a AMQPCommands) courier(w way) (command.Courier, error) {
	password, err := conf.ReadSecretIf(a.PasswordFile)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(a.URL)
	if err != nil {
		return nil, err
	}
	usual := "5672"
	if at.Scheme == "amqps" {
		usual = "5671"
	}
	named := func(name string) string { return strings.ReplaceAll(name, "{gateway}", w.gateway) }
	return overamqp.New(overamqp.Config{
		Address: hostPort(at, usual), TLS: w.tlsFor(at, "amqps"), Dial: onelinkDial(w.dial), VHost: a.VHost,
		Username: a.Username, Password: password, External: a.External, Queue: named(a.Queue), Declare: a.Declare,
		Exchange: a.AnswerExchange, RoutingKey: named(a.Answers), Heartbeat: time.Duration(a.Heartbeat), Name: w.gateway + "-commands",
	}, w.log), nil
}
