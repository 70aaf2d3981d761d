package daemon

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/servertest"
)

// fault is something that keeps readings from arriving, and what is to be said of it.
type fault struct {
	uplink string // its table
	link   string // keys of its [[link]]; none for the system's routing
	adjust func(*attempt)
	step   string   // the first that fails
	says   []string // parts of the verdict
}

// today is a clock that somebody has set, and adrift one that nobody has.
func today(tr *attempt) { tr.synced = func() bool { return true } }

func adrift(to time.Time) func(*attempt) {
	return func(tr *attempt) { tr.now, tr.synced = func() time.Time { return to }, func() bool { return false } }
}

// silence is how long the other sides that say nothing are waited for. Others have all
// the time that a busy machine takes.
const silence = 2 * time.Second

// examine diagnoses an uplink as "tidegate diagnose" does without a gateway.
func examine(t *testing.T, within time.Duration, f fault) (lines []netcheck.Line, verdict netcheck.Line) {
	t.Helper()
	text := fmt.Sprintf("[gateway]\nid = \"north-7\"\ndata_dir = %q\n", t.TempDir())
	if f.link != "" {
		text += "[[link]]\nname = \"eth\"\n" + f.link + "\n"
		f.uplink += "\nlinks = [\"eth\"]"
	}
	cfg, err := Parse("test", []byte(text+f.uplink))
	if err != nil {
		t.Fatal(err)
	}
	x, err := examWithout(cfg, cfg.Uplink.names()[0], api.Diagnosis{}, func(l netcheck.Line) { lines = append(lines, l) })
	if err != nil {
		t.Fatal(err)
	}
	x.adjust, x.trialTime = f.adjust, within
	x.run(t.Context())
	return lines, lines[len(lines)-1]
}

func httpTo(url, more string) string {
	return fmt.Sprintf("[[uplink.http]]\nname = \"cloud\"\nurl = %q\ninsecure_i_know = true\n%s", url, more)
}

func TestEveryFaultOfTheNetworkHasItsVerdict(t *testing.T) {
	try(t, patience, map[string]fault{
		"WrongName": {httpTo("https://clowd.example/v1", ""), nameServerAt(t), nil, netcheck.Name, []string{"There is no host clowd.example", "slip in the name"}},
		"NoNameServer": {httpTo("https://cloud.example/v1", ""), fmt.Sprintf("dns = [%q]", closed(t)), nil,
			netcheck.Name, []string{"No name server answers", "dns of this [[link]]"}},
		"NoRoute":             {httpTo("https://192.0.2.1/v1", ""), "interface = \"lo\"\ndial_timeout = \"1s\"", nil, netcheck.Connect, []string{"192.0.2.1:443"}},
		"NoInterface":         {httpTo("https://192.0.2.1/v1", ""), "interface = \"wwan7\"", nil, netcheck.Way, []string{"there is no interface wwan7", "modem"}},
		"NothingThere":        {httpTo("http://"+closed(t)+"/v1", ""), "", nil, netcheck.Connect, []string{"refuses the connection", "port in the url"}},
		"BlackHole":           {httpTo("http://"+blackHole(t)+"/v1", ""), "dial_timeout = \"1s\"", nil, netcheck.Connect, []string{"does not answer within 1s", "firewall"}},
		"Portal":              {httpTo("http://"+plainServer(t, portal())+"/v1", ""), "", today, netcheck.Connect, []string{"wants a login first", "https://login.hotel.example"}},
		"PortalBeforeABroker": {fmt.Sprintf("[[uplink.mqtt]]\nname = \"cloud\"\nurl = \"mqtt://%s\"", redirecting(t)), "", today, netcheck.Connect, []string{"wants a login first"}},
		"WebServerForBroker":  {fmt.Sprintf("[[uplink.redis]]\nname = \"cloud\"\nurl = \"redis://%s\"", plainServer(t, http.NotFoundHandler())), "", today, netcheck.Connect, []string{"answers as a web server"}},
		"WrongToken":          {httpTo("http://"+plainServer(t, answering(401, "", "no such token"))+"/v1", ""), "", today, netcheck.Login, []string{"401", "check the token"}},
		"LoginPage":           {httpTo("http://"+plainServer(t, answering(200, "", "<html><body>Welcome</body></html>"))+"/v1", ""), "", today, netcheck.Login, []string{"login page"}},
		"TooMany":             {httpTo("http://"+plainServer(t, answering(429, "120", "slow down"))+"/v1", ""), "", today, netcheck.Quota, []string{"asks to wait for 2m0s", "slow down"}},
		"OutOfOrder":          {httpTo("http://"+plainServer(t, answering(500, "", "oops"))+"/v1", ""), "", today, netcheck.Login, []string{"500"}},
		"NobodySends":         {httpTo("http://"+plainServer(t, answering(200, "", "{}"))+"/v1", ""), "", today, netcheck.Ack, []string{"The gateway does not run"}},
	})
	try(t, silence, map[string]fault{
		"PortalForASilentBroker": {fmt.Sprintf("[[uplink.mqtt]]\nname = \"cloud\"\nurl = \"mqtt://%s\"", mute(t)), "", portalAsked(t), netcheck.Connect, []string{"wants a login first"}},
		"SilentBroker":           {fmt.Sprintf("[[uplink.mqtt]]\nname = \"cloud\"\nurl = \"mqtt://%s\"", mute(t)), "", today, netcheck.Login, []string{"does not answer in time"}},
	})
}

func TestEveryFaultOfEncryptionHasItsVerdict(t *testing.T) {
	ca := servertest.NewAuthority(t)
	stranger := servertest.NewAuthority(t)
	trust := fmt.Sprintf("tls_ca = %q", ca.File())
	later := time.Now().AddDate(5, 0, 0)
	good, expired := secure(t, ca.Issue(servertest.Certificate{}), nil), secure(t, ca.Expired(), nil)
	picky := secure(t, ca.Issue(servertest.Certificate{}), ca.Pool())
	own := func(p servertest.Pair) string {
		return fmt.Sprintf("%s\ntls_cert = %q\ntls_key = %q", trust, p.Cert, p.Key)
	}
	try(t, patience, map[string]fault{
		"CutOff":  {httpTo("https://"+hangUp(t)+"/v1", ""), "", today, netcheck.Secure, []string{"cuts the connection when encryption begins"}},
		"NoTLS":   {httpTo("https://"+plainServer(t, http.NotFoundHandler())+"/v1", ""), "", today, netcheck.Secure, []string{"as a web server without encryption"}},
		"Expired": {httpTo(expired, trust), "", today, netcheck.Secure, []string{"has expired", "the clock here is right"}},
		"ExpiredSaysTheOtherSide": {httpTo(expired, trust), "", adrift(time.Now()), netcheck.Secure,
			[]string{"has expired", "the other side itself says"}},
		"ClockAhead":  {httpTo(good, trust), "", adrift(later), netcheck.Time, []string{"The clock here is wrong", "the other side says that it is", "timedatectl"}},
		"ClockIn1970": {httpTo(good, trust), "", adrift(time.Unix(7, 0)), netcheck.Time, []string{"The clock here is wrong", "1970-01-01"}},
		"ClockOrCertificate": {fmt.Sprintf("[[uplink.mqtt]]\nname = \"cloud\"\nurl = \"mqtts://%s\"\n%s", strings.TrimSuffix(strings.TrimPrefix(expired, "https://"), "/v1"), trust), "",
			adrift(time.Now()), netcheck.Time, []string{"one of the two is out of date", "set the clock"}},
		"WrongCA":       {httpTo(good, fmt.Sprintf("tls_ca = %q", stranger.File())), "", today, netcheck.Secure, []string{`signed by "tidegate test authority"`, "tls_ca"}},
		"UnknownCA":     {httpTo(good, ""), "", today, netcheck.Secure, []string{"which this machine does not know", "tls_ca"}},
		"OtherName":     {httpTo(secure(t, ca.Issue(servertest.Certificate{Hosts: []string{"shop.example"}}), nil), trust), "", today, netcheck.Secure, []string{"is for shop.example, and not for 127.0.0.1"}},
		"NoCertificate": {httpTo(picky, trust), "", today, netcheck.Secure, []string{"wants a certificate of this gateway", "tls_cert"}},
		"OwnExpired":    {httpTo(picky, own(ca.Expired())), "", today, netcheck.Secure, []string{"This gateway's own certificate ended on"}},
		"OwnUnknown":    {httpTo(picky, own(stranger.Issue(servertest.Certificate{}))), "", today, netcheck.Secure, []string{"does not accept this gateway's certificate"}},
		"PortalBeforeTLS": {httpTo(secure(t, stranger.Issue(servertest.Certificate{}), nil), ""), "", portalAsked(t), netcheck.Connect,
			[]string{"wants a login first", "https://login.hotel.example"}},
	})
	try(t, silence, map[string]fault{
		"Silent": {httpTo("https://"+mute(t)+"/v1", ""), "", today, netcheck.Secure, []string{"takes the connection and then says nothing"}},
	})
}

func try(t *testing.T, within time.Duration, faults map[string]fault) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			lines, verdict := examine(t, within, f)
			expectVerdict(t, verdict, netcheck.Bad, f.step, f.says...)
			checkOrder(t, lines, f.step)
		})
	}
}

// checkOrder looks whether every step was told to its end, and none behind the one
// that failed was tried, unless it was before.
func checkOrder(t *testing.T, lines []netcheck.Line, failed string) {
	t.Helper()
	last := map[string]netcheck.State{}
	for _, l := range lines[:len(lines)-1] {
		last[l.Step] = l.State
		if l.Verdict != "" || l.Title == "" {
			t.Errorf("%+v", l)
		}
	}
	behind := false
	for _, q := range netcheck.LinkQuestions() {
		state := last[q.Step]
		switch {
		case state == "" || state == netcheck.Running:
			t.Errorf("%s is %q at the end", q.Step, state)
		case !behind && state == netcheck.Bad && q.Step != failed:
			t.Errorf("%s fails before %s", q.Step, failed)
		case behind && state == netcheck.Bad:
			t.Errorf("%s fails behind %s", q.Step, failed)
		}
		behind = behind || q.Step == failed
	}
}

// Real servers, each in its own words.
func TestAWrongPasswordIsNamedByEveryServer(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("guessed"), 0o600); err != nil {
		t.Fatal(err)
	}
	user, who := servertest.User("gateway", "right"), fmt.Sprintf("username = \"gateway\"\npassword_file = %q", wrong)
	for name, server := range map[string]struct {
		start    func(testing.TB, ...servertest.Option) *servertest.Server
		protocol string
		table    string
	}{
		"Mosquitto": {servertest.Mosquitto, "mqtt", "[[uplink.mqtt]]\nurl = \"mqtt://%s\"\n" + who},
		"Redis":     {servertest.Redis, "redis", "[[uplink.redis]]\nurl = \"redis://%s\"\n" + who},
		"NATS":      {servertest.NATS, "nats", "[[uplink.nats]]\nurls = [\"nats://%s\"]\nsubject = \"tide.all\"\n" + who},
		"RabbitMQ":  {rabbitWithAMQP, "amqp", "[[uplink.amqp]]\nurl = \"amqp://%s\"\nrouting_key = \"tide\"\n" + who},
	} {
		t.Run(name, func(t *testing.T) {
			s := server.start(t, user, servertest.OrNil())
			if s == nil {
				t.Skip("not installed")
			}
			_, verdict := examine(t, patience, fault{uplink: fmt.Sprintf(server.table, s.Addr(server.protocol)) + "\nname = \"cloud\"", adjust: func(tr *attempt) { today(tr) }})
			if verdict.Step != netcheck.Login || verdict.State != netcheck.Bad || !strings.Contains(verdict.Verdict, "password") {
				t.Errorf("%+v", verdict)
			}
		})
	}
}

// Protocols that begin to encrypt in their own ways are judged alike.
func TestAForeignCertificateIsNamedForEveryServer(t *testing.T) {
	ca, other := servertest.NewAuthority(t), servertest.NewAuthority(t)
	trust := fmt.Sprintf("\nname = \"cloud\"\ntls_ca = %q", other.File())
	for name, server := range map[string]struct {
		start    func(testing.TB, ...servertest.Option) *servertest.Server
		protocol string
		table    string
	}{
		"Mosquitto": {servertest.Mosquitto, "mqtts", "[[uplink.mqtt]]\nurl = \"mqtts://%s\""},
		"Redis":     {servertest.Redis, "rediss", "[[uplink.redis]]\nurl = \"rediss://%s\""},
		"NATS":      {servertest.NATS, "tls", "[[uplink.nats]]\nurls = [\"tls://%s\"]\nsubject = \"tide.all\""}, // which says something before
		"RabbitMQ":  {rabbitWithAMQP, "amqps", "[[uplink.amqp]]\nurl = \"amqps://%s\"\nrouting_key = \"tide\""},
	} {
		t.Run(name, func(t *testing.T) {
			s := server.start(t, servertest.TLS(ca), servertest.OrNil())
			if s == nil {
				t.Skip("not installed")
			}
			_, verdict := examine(t, patience, fault{uplink: fmt.Sprintf(server.table, s.Addr(server.protocol)) + trust, adjust: today})
			if verdict.Step != netcheck.Secure || !strings.Contains(verdict.Verdict, `signed by "tidegate test authority"`) {
				t.Errorf("%+v", verdict)
			}
		})
	}
}

// So are those whose servers are not at hand: encryption begins before their words.
func TestAForeignCertificateIsNamedForEveryDoorOut(t *testing.T) {
	at := strings.TrimSuffix(strings.TrimPrefix(secure(t, servertest.NewAuthority(t).Issue(servertest.Certificate{}), nil), "https://"), "/v1")
	for name, table := range map[string]string{
		"Kafka":             "[[uplink.kafka]]\nbrokers = [\"%s\"]\ntls = true",
		"AMQP1":             "[[uplink.amqp1]]\nurl = \"amqps://%s\"\naddress = \"tide\"",
		"STOMP":             "[[uplink.stomp]]\nurl = \"stomp+ssl://%s\"\ndestination = \"/queue/tide\"",
		"WebSocket":         "[[uplink.websocket]]\nurl = \"wss://%s\"",
		"MQTTOverWebSocket": "[[uplink.mqtt]]\nurl = \"wss://%s\"",
	} {
		t.Run(name, func(t *testing.T) {
			_, verdict := examine(t, patience, fault{uplink: fmt.Sprintf(table, at) + "\nname = \"cloud\"", adjust: today})
			if verdict.Step != netcheck.Secure || !strings.Contains(verdict.Verdict, `signed by "tidegate test authority"`) {
				t.Errorf("%+v", verdict)
			}
		})
	}
}
