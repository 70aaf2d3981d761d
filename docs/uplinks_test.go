package docs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/nats-io/nats.go"
	"github.com/pelletier/go-toml/v2"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tidegate/tidegate/internal/servertest"
)

// secretWord is the password of every server of these tests, in every file that a
// page names.
const secretWord = "a-password-of-tests"

// doorOut is a page's uplink with the server that it speaks of.
type doorOut struct {
	page, kind, name string
	slow             bool // the server takes seconds to start
	// open starts the server and returns what to replace in the page, and how to
	// read what has arrived there.
	open func(s *session) (replace []string, arrived func() string)
}

var doorsOut = []doorOut{
	{"amqp-uplink", "amqp", "rabbit", true, toRabbitMQ},
	{"amqp1-uplink", "amqp1", "artemis", true, toRabbitMQOverAMQP1},
	{"stomp-uplink", "stomp", "plant", true, toActiveMQ},
	{"redis-uplink", "redis", "redis", false, toRedis},
	{"nats-uplink", "nats", "hub", false, toNATS},
	{"mqtt-uplink", "mqtt", "plant", false, toMosquitto},
	{"kafka-uplink", "kafka", "kafka", false, toKafka},
	{"http-uplink", "http", "cloud", false, toTheCloud("https://cloud.example/v1/ingest", "http://")},
	{"websocket-uplink", "websocket", "cloud", false, toTheCloud("wss://cloud.example/v1/ingest", "ws://")},
	{"http-uplink", "http", "influx", false, toInfluxDB},
	{"http-uplink", "http", "victoria", false, toVictoriaMetrics},
	{"file-uplink", "file", "archive", false, toFiles},
}

// TestUplinksOfThePagesDeliver configures a gateway with what a page shows, host,
// port and TLS replaced, and reads on the other side what was published here.
func TestUplinksOfThePagesDeliver(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		t.Skip("mosquitto_pub is not installed: apt-get install mosquitto-clients")
	}
	programs := t.TempDir()
	cloudProgram(t, programs)
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	for _, d := range doorsOut {
		t.Run(d.page+"/"+d.name, func(t *testing.T) {
			t.Parallel()
			if d.slow && testing.Short() {
				t.Skip("the server takes its time to start")
			}
			d.deliver(newSession(t, nil))
		})
	}
}

func (d doorOut) deliver(s *session) {
	replace, arrived := d.open(s)
	for _, m := range hostPort.FindAllStringSubmatch(strings.Join(replace, " "), -1) {
		if port, err := strconv.Atoi(m[1]); err == nil {
			s.ports[port] = port // is one of this machine already
		}
	}
	text := ""
	for _, b := range blocksOf(s, "docs/connect/"+d.page+".md") {
		if b.info == "toml" {
			text += strings.NewReplacer(replace...).Replace(b.text)
		}
	}
	for _, line := range strings.Split(text, "\n") { // secrets stand in files of their own
		if key, value, ok := strings.Cut(line, " = "); ok && (strings.HasSuffix(key, "_file")) {
			s.write(secretFile(strings.Trim(value, `"`)), secretWord+"\n")
		}
	}
	s.configure(d.alone(s, text))
	s.startGateway()
	s.must(`mosquitto_pub -p {1883} -q 1 -t boiler -m '{"temp":21.5}'`)
	last := ""
	defer func() {
		if s.Failed() {
			s.Logf("there is\n%.2000s", last)
		}
	}()
	s.eventually("the reading is on the other side", func() bool {
		last = arrived()
		return strings.Contains(last, "21.5")
	})
}

// secretFile is the file that a key names, by its path or as a credential: where systemd
// would put that is a folder of the session.
func secretFile(value string) string {
	if name, ok := strings.CutPrefix(value, "credential:"); ok {
		return "/run/credentials/tidegate_" + name
	}
	return value
}

// alone returns the configuration with no other uplink than this.
func (d doorOut) alone(s *session, text string) string {
	var whole struct {
		Uplink map[string][]map[string]any `toml:"uplink"`
	}
	if err := toml.Unmarshal([]byte(text), &whole); err != nil {
		s.Fatal(err)
	}
	for _, u := range whole.Uplink[d.kind] {
		if u["name"] == d.name {
			out, err := toml.Marshal(map[string]any{"uplink": map[string]any{d.kind: []any{u}}})
			if err != nil {
				s.Fatal(err)
			}
			return string(out)
		}
	}
	s.Fatalf("docs/connect/%s.md has no uplink %s", d.page, d.name)
	return ""
}

// asked returns what a program prints, its complaint if it fails.
func asked(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

// inQueue returns the bodies in the queue, which is bound to the exchange.
func inQueue(s *session, server *servertest.Server, exchange, queue string) func() string {
	conn, err := amqp.Dial(fmt.Sprintf("amqp://north-7:%s@%s/", secretWord, server.Addr("amqp")))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.QueueDeclare(queue, true, false, false, false, nil)
	}
	if err == nil && exchange != "" {
		err = ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil)
	}
	if err == nil && exchange != "" {
		err = ch.QueueBind(queue, "#", exchange, false, nil)
	}
	if err != nil {
		s.Fatal(err)
	}
	return func() string {
		m, _, err := ch.Get(queue, true)
		return fmt.Sprint(string(m.Body), err)
	}
}

func toRabbitMQ(s *session) ([]string, func() string) {
	server := servertest.RabbitMQ(s, servertest.User("north-7", secretWord), servertest.Only("amqp"))
	return []string{"amqps://broker.example", "amqp://" + server.Addr("amqp")}, inQueue(s, server, "telemetry", "all")
}

func toRabbitMQOverAMQP1(s *session) ([]string, func() string) {
	server := servertest.RabbitMQ(s, servertest.User("north-7", secretWord), servertest.Only("amqp"))
	return []string{"amqps://artemis.example", "amqp://" + server.Addr("amqp1.0"), `"telemetry"`, `"/amq/queue/telemetry"`},
		inQueue(s, server, "", "telemetry")
}

func toActiveMQ(s *session) ([]string, func() string) {
	server := servertest.ActiveMQ(s, servertest.User("north-7", secretWord))
	conn, err := stomp.Dial("tcp", server.Addr("stomp"), stomp.ConnOpt.Login("north-7", secretWord), stomp.ConnOpt.HeartBeat(0, 0))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Disconnect() })
	// One subscription for all looks: what is handed out when a look ends is seen by the next.
	sub, err := conn.Subscribe("/queue/telemetry", stomp.AckAuto)
	if err != nil {
		s.Fatal(err)
	}
	return []string{"stomp+ssl://activemq.example:61614", "stomp://" + server.Addr("stomp")}, func() string {
		select {
		case m, ok := <-sub.C:
			if !ok {
				return "the subscription has ended"
			}
			return fmt.Sprint(string(m.Body), m.Err)
		case <-time.After(2 * time.Second):
			return "nothing"
		}
	}
}

func toRedis(s *session) ([]string, func() string) {
	server := servertest.Redis(s, servertest.User("north-7", secretWord))
	host, port, _ := strings.Cut(server.Addr("redis"), ":")
	return []string{"rediss://redis.example", "redis://" + server.Addr("redis")}, func() string {
		return asked("redis-cli", "-h", host, "-p", port, "--user", "north-7", "--pass", secretWord, "--no-auth-warning", "XRANGE", "plant:north-7", "-", "+")
	}
}

func toNATS(s *session) ([]string, func() string) {
	server := servertest.NATS(s, servertest.User("north-7", secretWord))
	conn, err := nats.Connect("nats://"+server.Addr("nats"), nats.UserInfo("north-7", secretWord))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(conn.Close)
	js, err := conn.JetStream()
	if err == nil {
		_, err = js.AddStream(&nats.StreamConfig{Name: "TELEMETRY", Subjects: []string{"telemetry.>"}, Storage: nats.FileStorage})
	}
	if err != nil {
		s.Fatal(err)
	}
	return []string{`["tls://nats1.example", "tls://nats2.example"]`, fmt.Sprintf("[%q]", "nats://"+server.Addr("nats")),
			`creds_file = "credential:north-7.creds"`, "username = \"north-7\"\npassword_file = \"credential:nats.password\""},
		func() string {
			m, err := js.GetMsg("TELEMETRY", 1)
			if err != nil {
				return err.Error()
			}
			return string(m.Data)
		}
}

func toMosquitto(s *session) ([]string, func() string) {
	server := servertest.Mosquitto(s, servertest.User("north-7", secretWord))
	_, port, _ := strings.Cut(server.Addr("mqtt"), ":")
	// The second uplink of the page logs in nowhere, this server wants it to.
	return []string{"retain = true", "retain = true\nusername = \"north-7\"\npassword_file = \"credential:broker.password\"", "mqtts://broker.example", "mqtt://" + server.Addr("mqtt")}, func() string {
		return asked("mosquitto_sub", "-p", port, "-u", "north-7", "-P", secretWord, "-t", "plant/north-7/boiler/temp", "-C", "1", "-W", "10") // it is retained
	}
}

func toKafka(s *session) ([]string, func() string) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "plant.normal"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "north-7", secretWord))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(cluster.Close)
	broker := cluster.ListenAddrs()[0]
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("plant.normal"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SASL(scram.Auth{User: "north-7", Pass: secretWord}.AsSha512Mechanism()))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(client.Close)
	return []string{`["kafka-1.example:9093", "kafka-2.example:9093"]`, fmt.Sprintf("[%q]\ntls = false", broker)}, func() string {
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		fetched := client.PollFetches(ctx)
		if records := fetched.Records(); len(records) > 0 {
			return string(records[0].Value)
		}
		return fmt.Sprint(fetched.Err())
	}
}

// toTheCloud starts a tidegate-cloud that knows the gateway.
func toTheCloud(url, scheme string) func(s *session) ([]string, func() string) {
	return func(s *session) ([]string, func() string) {
		s.write("tokens.txt", "north-7 "+secretWord+"\n")
		s.start("tidegate-cloud run -data /var/lib/tidegate-cloud -listen 127.0.0.1:8440 -tokens tokens.txt", says("receiving"))
		address := fmt.Sprintf("127.0.0.1:%d", s.port(8440))
		return []string{url, scheme + address + "/v1/ingest"}, func() string {
			out, _ := s.run("tidegate-cloud export -url http://" + address)
			return out
		}
	}
}

func toInfluxDB(s *session) ([]string, func() string) {
	server := servertest.InfluxDB(s)
	at := "http://" + server.Addr("http")
	asked("curl", "-s", at+"/query", "--data-urlencode", "q=CREATE DATABASE tide")
	return []string{"https://influx.example", at}, func() string {
		return asked("curl", "-s", at+"/query?db=tide", "--data-urlencode", "q=SELECT * FROM /.*/")
	}
}

func toVictoriaMetrics(s *session) ([]string, func() string) {
	server := servertest.VictoriaMetrics(s)
	at := "http://" + server.Addr("http")
	return []string{"https://victoria.example", at}, func() string {
		return asked("curl", "-s", at+"/api/v1/export?match[]={__name__!=\"\"}", "-g")
	}
}

func toFiles(s *session) ([]string, func() string) {
	return []string{`max_age = "1d"`, `max_age = "1s"`}, func() string {
		out, _ := s.run("zstdcat /srv/readings/archive-*.zst")
		return out
	}
}
