package daemon

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/redisout"
)

// RedisUplink is [[uplink.redis]]: a server whose streams readings go to.
type RedisUplink struct {
	Upstream
	URL string `toml:"url"`
	// Username is a user of ACL; empty for the default user.
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// DB is the database.
	DB int `toml:"db"`
	// Stream is a template.
	Stream string `toml:"stream"`
	// MaxLen and MaxAge bound a stream; 0 for no bound. What is beyond it is gone,
	// read or not.
	MaxLen int64         `toml:"max_len"`
	MaxAge conf.Duration `toml:"max_age"`
	// WaitReplicas is how many replicas must have an entry before it counts.
	WaitReplicas int `toml:"wait_replicas"`
	// WaitDisk waits until an entry is on the server's disk, too.
	WaitDisk bool `toml:"wait_disk"`
}

// SetDefaults makes d what an empty [[uplink.redis]] would be.
func (d *RedisUplink) SetDefaults() {
	*d = RedisUplink{Upstream: defaultUpstream(), Stream: "tidegate"}
}

func (d RedisUplink) target() string { return d.URL }

func (d RedisUplink) secretFiles() []string { return []string{d.PasswordFile} }

// piecewise says that parts of a message travel by themselves.
func (RedisUplink) piecewise() {}

func (d RedisUplink) validate(r refuse, key string) {
	d.validateSettings(r, key, encode.Encodings()...)
	d.validateURL(r, key+".url", d.URL, "rediss://redis.example", "redis", "rediss")
	if at, err := url.Parse(d.URL); err == nil && (strings.Trim(at.Path, "/") != "" || at.RawQuery != "") {
		r(key+".url", "write the number of the database into db", "%q has more than host and port", d.URL)
	}
	if d.Username != "" && d.PasswordFile == "" {
		r(key+".password_file", "name the file that holds the password", "is missing, and there is a username")
	}
	if d.Stream == "" {
		r(key+".stream", `write for example "telemetry"`, "is empty")
	}
	d.validateTemplate(r, key+".stream", d.Stream)
	between(r, key+".db", d.DB, 0, math.MaxInt16)
	between(r, key+".max_len", d.MaxLen, 0, math.MaxInt64)
	between(r, key+".max_age", d.MaxAge, 0, conf.Duration(100*365*24*time.Hour))
	if d.MaxLen > 0 && d.MaxAge > 0 {
		r(key+".max_age", "take out one of them", "a stream is trimmed by max_len or by max_age, not by both")
	}
	between(r, key+".wait_replicas", d.WaitReplicas, 0, 64)
}

func (d RedisUplink) sink(w way) (uplink.Sink, error) {
	stream, err := uplink.ParseTemplate(d.Stream)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	at, err := url.Parse(d.URL)
	if err != nil {
		return nil, err
	}
	cfg := redisout.Config{
		Address: hostPort(at, "6379"), Username: d.Username, DB: d.DB, Stream: stream,
		MaxLen: d.MaxLen, MaxAge: time.Duration(d.MaxAge), Replicas: d.WaitReplicas, Disk: d.WaitDisk,
		TLS: w.tlsFor(at, "rediss"), Dial: w.dial,
	}
	if cfg.Password, err = conf.ReadSecretIf(d.PasswordFile); err != nil {
		return nil, err
	}
	return redisout.New(cfg)
}
