package servertest

// Option is how a server is to be. The zero of all is a server that lets everybody
// in, without TLS, and keeps what it is given on disk.
type Option func(*options)

type options struct {
	user, password string
	authority      *Authority
	pair           Pair
	maxMessage     int
	volatile       bool
	only           []string
	orNil          bool
	lines          []string
}

// User lets nobody in but this user. For Redis, the user "default" is who logs in
// with a password only.
func User(name, password string) Option {
	return func(o *options) { o.user, o.password = name, password }
}

// TLS makes the server listen with TLS as well, or instead where it can only do
// one of them (nats-server, InfluxDB, VictoriaMetrics). Its certificate is for
// localhost and 127.0.0.1.
func TLS(a *Authority) Option {
	return func(o *options) { o.authority, o.pair = a, a.Issue(Certificate{}) }
}

// TLSWith is TLS with a certificate of the test's choice, for example an expired
// one. Clients need no certificate.
func TLSWith(a *Authority, p Pair) Option {
	return func(o *options) { o.authority, o.pair = a, p }
}

// MaxMessage limits what the server takes as one message, in bytes of payload;
// mosquitto and nats-server tell their clients.
func MaxMessage(bytes int) Option {
	return func(o *options) { o.maxMessage = bytes }
}

// Volatile makes a server keep nothing on disk.
func Volatile() Option {
	return func(o *options) { o.volatile = true }
}

// Only leaves away the other protocols of RabbitMQ (which always speaks AMQP).
func Only(protocols ...string) Option {
	return func(o *options) { o.only = protocols }
}

// OrNil makes the constructor return nil, and log why, where it would skip the test:
// for tests of several servers at once.
func OrNil() Option {
	return func(o *options) { o.orNil = true }
}

// Config adds lines to the server's configuration, in its own language: before
// all others for ActiveMQ (inside <broker>), after them for the others; for
// VictoriaMetrics each is a flag.
func Config(lines ...string) Option {
	return func(o *options) { o.lines = append(o.lines, lines...) }
}
