package firmwaresim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const demoUsage = `
Starts a cloud, a gateway, a link between them and a fleet of devices, all on
this machine and in a temporary directory. The link is cut while the devices
keep publishing, and restored; when the gateway has sent what it held back,
everything is stopped and every acknowledged sample is looked for in the cloud.
Open the dashboard's address while it runs.

Examples:
  firmware-sim demo
  firmware-sim demo -devices 200 -rate 5 -cut 2m -dashboard 127.0.0.1:8080`

// demoPatience is how long the gateway may take to send what it held back.
const demoPatience = 2 * time.Minute

// readingsPerMessage is what the demo's payload decodes to: the counter and
// four metrics.
const readingsPerMessage = 5

// demo is one run of the command.
type demo struct {
	bin       string
	dashboard string // host:port
	connected time.Duration
	cut       time.Duration
	keep      bool
	fleet     FleetConfig

	dir   string
	show  *display
	watch *watch
}

func runDemo(ctx context.Context, args []string, to console) error {
	d := &demo{show: newDisplay(to.out)}
	flags := newFlags("demo", demoUsage, to)
	flags.StringVar(&d.bin, "bin", "bin", "`directory` with tidegate and tidegate-cloud")
	flags.StringVar(&d.dashboard, "dashboard", "", "`host:port` of the dashboard; empty: any free port")
	flags.IntVar(&d.fleet.Devices, "devices", 50, "`number` of devices")
	flags.Float64Var(&d.fleet.Rate, "rate", 20, "messages a second and device")
	flags.Uint64Var(&d.fleet.Seed, "seed", 1, "the same seed makes the same values")
	flags.DurationVar(&d.connected, "connected", 15*time.Second, "`duration` for which the link is up at first")
	flags.DurationVar(&d.cut, "cut", 20*time.Second, "`duration` for which the link is cut")
	flags.BoolVar(&d.keep, "keep", false, "keep the directory with logs, buffer and ledger")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if d.fleet.Devices < 1 || d.fleet.Rate <= 0 {
		return usageError{errors.New("-devices is at least 1, and -rate more than 0")}
	}
	var err error
	if d.dir, err = os.MkdirTemp("", "tidegate-demo-"); err != nil {
		return err
	}
	if d.keep {
		d.show.say("files       %s", d.dir)
	} else {
		defer os.RemoveAll(d.dir)
	}
	verdict, err := d.run(ctx)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	return pronounce(verdict, to.out)
}

// run builds the scene from the cloud to the devices, plays it, and takes it
// down again: each stage is stopped by its defer, the devices first.
func (d *demo) run(ctx context.Context) (Verdict, error) {
	cloud, cloudAddr, err := d.startCloud(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer cloud.stopAndWait()
	link, err := OpenLink("127.0.0.1:0", cloudAddr)
	if err != nil {
		return Verdict{}, err
	}
	defer background(link.Run)()
	gateway, err := d.startGateway(ctx, link.Addr())
	if err != nil {
		return Verdict{}, err
	}
	defer gateway.stopAndWait()
	ledger, err := CreateLedger(filepath.Join(d.dir, "acked.ledger"))
	if err != nil {
		return Verdict{}, err
	}
	defer ledger.Close()
	d.fleet.QoS = 1
	fleet, err := NewFleet(d.fleet, ledger)
	if err != nil {
		return Verdict{}, err
	}
	d.watch = newWatch(d.show, fleet, d.dashboard, cloud, gateway)
	if err := d.play(ctx, link, fleet); err != nil {
		return Verdict{}, err
	}
	gateway.stopAndWait()
	return auditCloud(ctx, ledger, "http://"+cloudAddr+"/v1/export")
}

func (d *demo) startCloud(ctx context.Context) (*process, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := startProcess(d.dir, filepath.Join(d.bin, "tidegate-cloud"),
		"run", "-listen", addr, "-data", filepath.Join(d.dir, "cloud"))
	if err != nil {
		return nil, "", err
	}
	if err := p.listening(ctx, addr); err != nil {
		p.stopAndWait()
		return nil, "", err
	}
	return p, addr, nil
}

func (d *demo) startGateway(ctx context.Context, cloudAddr string) (*process, error) {
	broker, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if d.dashboard == "" {
		if d.dashboard, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	d.fleet.Addr = broker
	config := filepath.Join(d.dir, "tidegate.toml")
	if err := os.WriteFile(config, d.gatewayConfig(broker, cloudAddr), 0o600); err != nil {
		return nil, err
	}
	p, err := startProcess(d.dir, filepath.Join(d.bin, "tidegate"), "run", "-config", config)
	if err != nil {
		return nil, err
	}
	for _, addr := range []string{broker, d.dashboard} {
		if err := p.listening(ctx, addr); err != nil {
			p.stopAndWait()
			return nil, err
		}
	}
	return p, nil
}

func (d *demo) gatewayConfig(broker, cloudAddr string) []byte {
	return fmt.Appendf(nil, `[gateway]
id = "demo"
data_dir = %q
[buffer]
max_bytes = "256MiB"
[ingest.mqtt]
listen = %q
[[ingest.mqtt.route]]
topic = "site/{site}/dev/{device}/telemetry"
[[uplink.http]]
name = "cloud"
url = "http://%s/v1/ingest"
[dashboard]
listen = %q
`, filepath.Join(d.dir, "gateway"), broker, cloudAddr, d.dashboard)
}

// play is the story: connected, cut, restored, drained.
func (d *demo) play(ctx context.Context, link *Link, fleet *Fleet) error {
	d.show.say("dashboard   http://%s/", d.dashboard)
	d.show.say("devices     %d, each %v messages a second of %d readings", d.fleet.Devices, d.fleet.Rate, readingsPerMessage)
	stopFleet := background(fleet.Run)
	defer stopFleet()

	if err := d.watch.last(ctx, "link up", d.connected); err != nil {
		return err
	}
	link.Cut()
	d.watch.tell("the link is cut; the devices keep publishing")
	if err := d.watch.last(ctx, "link cut", d.cut); err != nil {
		return err
	}
	link.Restore()
	d.watch.tell("the link is back")
	aSecond := uint64(float64(d.fleet.Devices) * d.fleet.Rate * readingsPerMessage)
	took, err := d.watch.until(ctx, "catching up", aSecond)
	if err != nil {
		return err
	}
	d.watch.tell("caught up within %v, with the devices still publishing", took.Round(moment)+moment)
	if err := stopFleet(); err != nil {
		return err
	}
	if _, err := d.watch.until(ctx, "draining", 0); err != nil {
		return err
	}
	if fleet.Stats().Acked == 0 {
		return errors.New("the gateway acknowledged nothing — hint: see its log with -keep")
	}
	d.watch.tell("everything is out; now the cloud is asked for each acknowledged message")
	return nil
}
