package amqpout

import amqp "github.com/rabbitmq/amqp091-go"

// login is how a connection logs in. It answers for SASL, and uses the moment to
// add a capability to what the library tells the server of itself: with it a
// wrong password is answered in words. Without it RabbitMQ waits for some seconds
// and cuts the connection, as a bad link does.
type login struct {
	mechanism, response string
	properties          amqp.Table
}

// newLogin returns the login that c asks for.
func newLogin(c Config, gateway string) *login {
	name := gateway
	if name == "" {
		name = "tidegate check"
	}
	l := &login{
		mechanism:  "PLAIN",
		response:   "\x00" + c.Username + "\x00" + c.Password.Reveal(),
		properties: amqp.Table{"product": c.Product, "connection_name": name},
	}
	if c.External {
		l.mechanism, l.response = "EXTERNAL", ""
	}
	return l
}

// Mechanism names the mechanism of SASL.
func (l *login) Mechanism() string { return l.mechanism }

// Response returns the one response of PLAIN and of EXTERNAL. The library asks
// for it when it has written its capabilities into the properties, and before
// the properties are sent.
func (l *login) Response() string {
	if all, ok := l.properties["capabilities"].(amqp.Table); ok {
		all["authentication_failure_close"] = true
	}
	return l.response
}
