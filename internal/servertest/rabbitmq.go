package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const rabbitBin = "/usr/lib/rabbitmq/bin/" // beside the wrapper that changes to another user

// RabbitMQ starts RabbitMQ with the plugins for AMQP 1.0, MQTT (3.1.1) and STOMP.
// It takes about ten seconds: see Shared. Without User, guest/guest may do
// everything. Ctl is rabbitmqctl, some three seconds a call. Fill raises the
// alarm for disk space: connections are blocked.
func RabbitMQ(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "RabbitMQ", pack: "rabbitmq-server", program: rabbitBin + "rabbitmq-server", slow: true,
		plan: planRabbitMQ, fill: fillRabbitMQ, ctl: rabbitmqctl,
	}, opts)
}

func planRabbitMQ(e *engine) (plan, error) {
	ports, err := e.ports("amqp", "mqtt", "stomp", "epmd", "dist")
	if err != nil {
		return plan{}, err
	}
	lines := []string{
		"listeners.tcp.1 = 127.0.0.1:" + ports[0],
		"mqtt.listeners.tcp.1 = 127.0.0.1:" + ports[1],
		"stomp.listeners.tcp.1 = 127.0.0.1:" + ports[2],
		"log.console = true", "log.file = false",
	}
	p := plan{
		helper: []string{"epmd", "-address", "127.0.0.1", "-port", ports[3]}, // else the server starts one that nobody stops
		argv:   []string{rabbitBin + "rabbitmq-server"},
		ready:  map[string]greet{"amqp": greetAMQP(), "mqtt": greetMQTT(), "stomp": greetSTOMP()},
		alias:  map[string]string{"amqp1.0": "amqp"},
	}
	if o := e.options; o.user != "" {
		lines = append(lines, "default_user = "+o.user, "default_pass = "+o.password,
			"mqtt.allow_anonymous = false")
	}
	if e.options.maxMessage > 0 {
		lines = append(lines, fmt.Sprintf("max_message_size = %d", e.options.maxMessage))
	}
	if a := e.options.authority; a != nil {
		secure, err := e.ports("amqps", "mqtts", "stomp+ssl")
		if err != nil {
			return plan{}, err
		}
		lines = append(lines,
			"listeners.ssl.1 = 127.0.0.1:"+secure[0],
			"mqtt.listeners.ssl.1 = 127.0.0.1:"+secure[1],
			"stomp.listeners.ssl.1 = 127.0.0.1:"+secure[2],
			"ssl_options.cacertfile = "+a.File(),
			"ssl_options.certfile = "+e.options.pair.Cert,
			"ssl_options.keyfile = "+e.options.pair.Key,
			"ssl_options.verify = verify_none")
		p.ready["amqps"], p.ready["mqtts"], p.ready["stomp+ssl"] = overTLS(greetAMQP()), overTLS(greetMQTT()), overTLS(greetSTOMP())
	}
	conf, err := e.write("rabbitmq.conf", strings.Join(append(lines, e.options.lines...), "\n")+"\n")
	if err != nil {
		return plan{}, err
	}
	plugins, err := e.write("enabled_plugins", "[rabbitmq_amqp1_0,rabbitmq_mqtt,rabbitmq_stomp].\n")
	if err != nil {
		return plan{}, err
	}
	p.env = append(erlangEnv(e.dir, ports[3]),
		"RABBITMQ_CONFIG_FILE="+conf, "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_CONF_ENV_FILE="+os.DevNull,
		"RABBITMQ_MNESIA_BASE="+filepath.Join(e.dir, "mnesia"), "RABBITMQ_LOG_BASE="+e.dir,
		"RABBITMQ_PID_FILE="+filepath.Join(e.dir, "pid"), "RABBITMQ_DIST_PORT="+ports[4],
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
		"detached=yes", // the script becomes the server instead of waiting for it
	)
	return p, nil
}

// erlangEnv is what the server and its tool must agree on.
func erlangEnv(dir, epmd string) []string {
	return []string{"HOME=" + dir, "ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + epmd, "RABBITMQ_NODENAME=tidegate@localhost"}
}

func rabbitmqctl(e *engine, args ...string) (string, error) {
	ports, err := e.ports("epmd")
	if err != nil {
		return "", err
	}
	cmd := exec.Command(rabbitBin+"rabbitmqctl", append([]string{"--quiet"}, args...)...)
	cmd.Dir = e.dir
	cmd.Env = append(os.Environ(), append(erlangEnv(e.dir, ports[0]),
		"RABBITMQ_CTL_ERL_ARGS=+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func fillRabbitMQ(e *engine, full bool) error {
	limit := "50MB"
	if full {
		limit = "1000TB"
	}
	_, err := rabbitmqctl(e, "set_disk_free_limit", limit)
	return err
}
