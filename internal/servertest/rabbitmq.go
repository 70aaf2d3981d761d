package servertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const rabbitBin = "/usr/lib/rabbitmq/bin/" // beside the wrapper that changes to another user

// RabbitMQ starts RabbitMQ with the plugins for AMQP 1.0, MQTT (3.1.1) and STOMP.
// It takes about ten seconds, and five without MQTT (see Only and Shared). Without User, guest/guest may do
// everything. Ctl is rabbitmqctl, some three seconds a call. Fill raises the
// alarm for disk space: connections are blocked.
func RabbitMQ(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "RabbitMQ", pack: "rabbitmq-server", programs: []string{rabbitBin + "rabbitmq-server"}, slow: true,
		plan: planRabbitMQ, fill: fillRabbitMQ, ctl: rabbitmqctl,
	}, opts)
}

func planRabbitMQ(e *engine) (plan, error) {
	ports, err := e.ports("epmd", "dist")
	if err != nil {
		return plan{}, err
	}
	p := plan{
		helper: []string{"epmd", "-address", "127.0.0.1", "-port", ports[0]}, // else the server starts one that nobody stops
		argv:   []string{rabbitBin + "rabbitmq-server"},
		ready:  map[string]greet{},
		alias:  map[string]string{"amqp1.0": "amqp"},
	}
	lines, plugins, err := rabbitListeners(e, &p)
	if err != nil {
		return plan{}, err
	}
	lines = append(lines, "log.console = true", "log.file = false")
	if o := e.options; o.user != "" {
		lines = append(lines, "default_user = "+o.user, "default_pass = "+o.password)
		if slices.Contains(plugins, "rabbitmq_mqtt") {
			lines = append(lines, "mqtt.allow_anonymous = false")
		}
	}
	if e.options.maxMessage > 0 {
		lines = append(lines, fmt.Sprintf("max_message_size = %d", e.options.maxMessage))
	}
	conf, err := e.write("rabbitmq.conf", strings.Join(append(lines, e.options.lines...), "\n")+"\n")
	if err != nil {
		return plan{}, err
	}
	enabled, err := e.write("enabled_plugins", "["+strings.Join(plugins, ",")+"].\n")
	if err != nil {
		return plan{}, err
	}
	p.env = append(erlangEnv(e.dir, ports[0]),
		"RABBITMQ_CONFIG_FILE="+conf, "RABBITMQ_ENABLED_PLUGINS_FILE="+enabled,
		"RABBITMQ_CONF_ENV_FILE="+os.DevNull,
		"RABBITMQ_MNESIA_BASE="+filepath.Join(e.dir, "mnesia"), "RABBITMQ_LOG_BASE="+e.dir,
		"RABBITMQ_PID_FILE="+filepath.Join(e.dir, "pid"), "RABBITMQ_DIST_PORT="+ports[1],
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
		"detached=yes", // the script becomes the server instead of waiting for it
	)
	return p, nil
}

// rabbitListeners chooses the plugins and where each listens, with TLS and without.
func rabbitListeners(e *engine, p *plan) (lines, plugins []string, err error) {
	if a := e.options.authority; a != nil {
		lines = append(lines, "ssl_options.cacertfile = "+a.File(), "ssl_options.certfile = "+e.options.pair.Cert,
			"ssl_options.keyfile = "+e.options.pair.Key, "ssl_options.verify = verify_none")
	}
	for _, l := range []struct {
		protocol, secure, key, plugin string
		greet                         greet
	}{
		{"amqp", "amqps", "", "rabbitmq_amqp1_0", greetAMQP()},
		{"mqtt", "mqtts", "mqtt.", "rabbitmq_mqtt", greetMQTT()},
		{"stomp", "stomp+ssl", "stomp.", "rabbitmq_stomp", greetSTOMP()},
	} {
		if only := e.options.only; l.protocol != "amqp" && only != nil && !slices.Contains(only, l.protocol) {
			continue
		}
		plugins = append(plugins, l.plugin)
		address, err := e.address(l.protocol)
		if err != nil {
			return nil, nil, err
		}
		lines = append(lines, l.key+"listeners.tcp.1 = "+address)
		p.ready[l.protocol] = l.greet
		if e.options.authority == nil {
			continue
		}
		if address, err = e.address(l.secure); err != nil {
			return nil, nil, err
		}
		lines = append(lines, l.key+"listeners.ssl.1 = "+address)
		p.ready[l.secure] = overTLS(l.greet)
	}
	return lines, plugins, nil
}

// erlangEnv is what the server and its tool must agree on.
func erlangEnv(dir, epmd string) []string {
	return []string{"HOME=" + dir, "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + epmd, "RABBITMQ_NODENAME=tidegate@localhost"}
}

// rabbitmqctl runs the server's tool. The server takes connections a moment before it
// takes what its tool says.
func rabbitmqctl(e *engine, args ...string) (string, error) {
	ports, err := e.ports("epmd")
	if err != nil {
		return "", err
	}
	for late := time.Now().Add(patience); ; {
		cmd := exec.Command(rabbitBin+"rabbitmqctl", append([]string{"--quiet"}, args...)...)
		cmd.Dir = e.dir
		cmd.Env = append(os.Environ(), append(erlangEnv(e.dir, ports[0]),
			"RABBITMQ_CTL_ERL_ARGS=+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}")...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return string(out), nil
		}
		if !bytes.Contains(out, []byte("app to be running")) || time.Now().After(late) {
			return "", fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
}

func fillRabbitMQ(e *engine, full bool) error {
	limit := "50MB"
	if full {
		limit = "1000000000000000"
	}
	_, err := rabbitmqctl(e, "set_disk_free_limit", limit)
	return err
}
