package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Mosquitto starts mosquitto, for MQTT 3.1.1 and 5. It writes what it keeps for
// absent subscribers when it is stopped, and every half hour: Kill loses it,
// acknowledged or not. Its autosave_on_changes, through Config, does not save the
// last message either.
func Mosquitto(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "mosquitto", pack: "mosquitto", programs: []string{"mosquitto"},
		plan: planMosquitto,
	}, opts)
}

func planMosquitto(e *engine) (plan, error) {
	ports, err := e.ports("mqtt")
	if err != nil {
		return plan{}, err
	}
	lines := []string{"log_dest stdout", "max_queued_messages 0", "listener " + ports[0] + " 127.0.0.1"}
	p := plan{ready: map[string]greet{"mqtt": greetMQTT()}}
	if os.Geteuid() == 0 {
		// A change of users would leave the folder behind, and undo that the
		// server dies with the test.
		lines = append(lines, "user root")
	}
	if a := e.options.authority; a != nil {
		secure, err := e.ports("mqtts")
		if err != nil {
			return plan{}, err
		}
		lines = append(lines, "listener "+secure[0]+" 127.0.0.1", "certfile "+e.options.pair.Cert, "keyfile "+e.options.pair.Key)
		p.ready["mqtts"] = overTLS(greetMQTT())
	}
	if !e.options.volatile {
		lines = append(lines, "persistence true", "persistence_location "+e.dir+"/")
	}
	if e.options.maxMessage > 0 {
		// The first is about the payload, the second is what clients are told.
		lines = append(lines, fmt.Sprintf("message_size_limit %d", e.options.maxMessage),
			fmt.Sprintf("max_packet_size %d", e.options.maxMessage+1024))
	}
	if e.options.user == "" {
		lines = append(lines, "allow_anonymous true")
	} else {
		file, err := mosquittoPasswords(e)
		if err != nil {
			return plan{}, err
		}
		lines = append(lines, "allow_anonymous false", "password_file "+file)
	}
	config, err := e.write("mosquitto.conf", strings.Join(append(lines, e.options.lines...), "\n")+"\n")
	p.argv = []string{"mosquitto", "-c", config}
	return p, err
}

func mosquittoPasswords(e *engine) (string, error) {
	path := filepath.Join(e.dir, "passwords")
	out, err := exec.Command("mosquitto_passwd", "-c", "-b", path, e.options.user, e.options.password).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mosquitto_passwd: %w: %s", err, out)
	}
	return path, nil
}
