package daemon

import (
	"cmp"
	"math"
	"net/url"
	"strings"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/overredis"
	"github.com/tidegate/tidegate/internal/conf"
)

// RedisCommands is [[command.redis]]: commands from a stream of Redis.
type RedisCommands struct {
	Downstream
	URL string `toml:"url"`
	// Username is a user of ACL; empty for the default user.
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	DB           int    `toml:"db"`
	// Stream is read by Group, as Consumer; Answers is the stream of answers, which
	// has about MaxAnswers entries. {gateway} is the gateway's name; an empty
	// Consumer is, too.
	Stream     string `toml:"stream"`
	Group      string `toml:"group"`
	Consumer   string `toml:"consumer"`
	Answers    string `toml:"answers"`
	MaxAnswers int    `toml:"max_answers"`
}

// SetDefaults makes d what an empty [[command.redis]] would be.
func (d *RedisCommands) SetDefaults() {
	*d = RedisCommands{
		Downstream: defaultDownstream(), Stream: "tidegate:{gateway}:commands", Group: "tidegate",
		Answers: "tidegate:{gateway}:answers", MaxAnswers: 10_000,
	}
}

func (d RedisCommands) target() string { return d.URL }

func (d RedisCommands) secretFiles() []string { return []string{d.PasswordFile} }

func (d RedisCommands) validate(r refuse, key string) {
	d.upstream().validateURL(r, key+".url", d.URL, "rediss://redis.example", "redis", "rediss")
	validateBare(r, key+".url", d.URL, "write the number of the database into db")
	if d.Username != "" && d.PasswordFile == "" {
		r(key+".password_file", "name the file that holds the password", "is missing, and there is a username")
	}
	between(r, key+".db", d.DB, 0, math.MaxInt16)
	for name, text := range map[string]string{"stream": d.Stream, "group": d.Group} {
		if text == "" {
			r(key+"."+name, `write for example "tidegate"`, "is empty")
		}
	}
	between(r, key+".max_answers", d.MaxAnswers, 1, math.MaxInt32)
}

func (d RedisCommands) courier(w way) (command.Courier, error) {
	password, err := conf.ReadSecretIf(d.PasswordFile)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(d.URL)
	if err != nil {
		return nil, err
	}
	named := func(name string) string { return strings.ReplaceAll(name, "{gateway}", w.gateway) }
	return overredis.New(overredis.Config{
		Address: hostPort(at, "6379"), TLS: w.tlsFor(at, "rediss"), Dial: onelinkDial(w.dial), Username: d.Username, Password: password, DB: d.DB,
		Stream: named(d.Stream), Group: named(d.Group), Consumer: named(cmp.Or(d.Consumer, w.gateway)),
		Answers: named(d.Answers), MaxAnswers: d.MaxAnswers,
	}, w.log), nil
}
