package firmwaresim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
)

const fleetUsage = `
Publishes the telemetry of many simulated devices to an MQTT broker. With a
ledger, every acknowledgement is written down, and every sample carries a
counter, so that "firmware-sim audit" can later ask the cloud for each of them.
Runs until -for or -count is reached, or until Ctrl-C.

Examples:
  firmware-sim fleet -n 50 -rate 2
  firmware-sim fleet -n 100 -window 100 -rate 0 -for 10s -json
  firmware-sim fleet -n 20 -count 100000 -rate 0 -ledger acked.ledger`

// fleetOptions are the flags of the command fleet.
type fleetOptions struct {
	config       FleetConfig
	length       time.Duration
	ledger       string
	passwordFile string
	json         bool
}

func parseFleetFlags(args []string, to console) (fleetOptions, error) {
	var o fleetOptions
	c := &o.config
	flags := newFlags("fleet", fleetUsage, to)
	flags.StringVar(&c.Addr, "addr", "127.0.0.1:1883", "`host:port` of the broker")
	flags.IntVar(&c.Devices, "n", 10, "`number` of devices")
	flags.Float64Var(&c.Rate, "rate", 1, "messages a second and device; 0: as fast as acknowledgements come")
	flags.IntVar(&c.Client.Window, "window", 20, "unacknowledged messages a device")
	qos := flags.Uint("qos", 1, "0, 1 or 2")
	version := flags.Uint("mqtt", 3, "protocol version, 3 (3.1.1) or 5")
	flags.StringVar((*string)(&c.Shape), "shape", string(JSON4), fmt.Sprint("payload, one of ", Shapes()))
	flags.StringVar(&c.Topic, "topic", "", "`topic` with {device} and, for plain, {metric}")
	flags.StringVar(&c.Prefix, "prefix", "dev-", "how the devices' names begin")
	flags.Uint64Var(&c.Seed, "seed", 1, "the same seed makes the same values")
	flags.Uint64Var(&c.Count, "count", 0, "messages of the whole fleet; 0: no end")
	flags.BoolVar(&c.Client.CleanSession, "clean", false, "ask for clean sessions")
	flags.StringVar(&c.Client.Username, "user", "", "user `name`")
	flags.StringVar(&o.passwordFile, "password-file", "", "`file` with the password")
	flags.DurationVar(&o.length, "for", 0, "`duration`, such as 30s; 0: no end")
	flags.StringVar(&o.ledger, "ledger", "", "new `file` for what was acknowledged")
	flags.BoolVar(&o.json, "json", false, "print the summary as JSON")
	if err := parseFlags(flags, args); err != nil {
		return o, err
	}
	if *version != 3 && *version != 5 {
		return o, usageError{fmt.Errorf("-mqtt %d: there are 3 and 5", *version)}
	}
	if *qos > 2 || c.Devices < 1 || c.Client.Window < 1 {
		return o, usageError{errors.New("-qos is 0, 1 or 2; -n and -window are at least 1")}
	}
	c.QoS, c.Client.Version = byte(*qos), MQTT3
	if *version == 5 {
		c.Client.Version = MQTT5
	}
	return o, nil
}

func runFleet(ctx context.Context, args []string, to console) error {
	o, err := parseFleetFlags(args, to)
	if err != nil {
		return err
	}
	password, err := conf.ReadSecretIf(o.passwordFile)
	if err != nil {
		return err
	}
	o.config.Client.Password = password.Reveal()
	ledger, err := createLedger(o.ledger)
	if err != nil {
		return err
	}
	defer ledger.close()
	fleet, err := NewFleet(o.config, ledger)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := forSoLong(ctx, o.length)
	defer cancel()
	took, err := watchFleet(ctx, fleet, newDisplay(to.err))
	if err != nil {
		return err
	}
	return reportFleet(fleet, took, o, to)
}

// watchFleet runs a fleet and shows how it is doing.
func watchFleet(ctx context.Context, fleet *Fleet, show *display) (time.Duration, error) {
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- fleet.Run(ctx) }()
	tick := time.NewTicker(show.interval())
	defer tick.Stop()
	var before FleetStats
	last := began
	for {
		select {
		case err := <-done:
			took := time.Since(began)
			show.say("the fleet has stopped after %v", took.Round(time.Millisecond))
			return took, err
		case now := <-tick.C:
			s := fleet.Stats()
			rate := float64(s.Acked-before.Acked) / now.Sub(last).Seconds()
			show.renew("%7s   %d online   %s acknowledged   %s/s   p50 %v", now.Sub(began).Round(time.Second), s.Online,
				thousands(s.Acked), thousands(uint64(rate)), s.Latency.Quantile(.5).Round(10*time.Microsecond))
			before, last = s, now
		}
	}
}

// fleetSummary is what -json prints. Latencies are in milliseconds.
type fleetSummary struct {
	Devices        int     `json:"devices"`
	Seconds        float64 `json:"seconds"`
	Published      uint64  `json:"published"`
	Acked          uint64  `json:"acked"`
	AckedPerSecond float64 `json:"acked_per_second"`
	Refused        uint64  `json:"refused"`
	Republished    uint64  `json:"republished"`
	Unexpected     uint64  `json:"unexpected_acks"`
	Connects       uint64  `json:"connects"`
	BytesOut       uint64  `json:"bytes_out"`
	BytesIn        uint64  `json:"bytes_in"`
	LatencyP50     float64 `json:"latency_p50_ms"`
	LatencyP99     float64 `json:"latency_p99_ms"`
	LatencyMax     float64 `json:"latency_max_ms"`
}

func reportFleet(fleet *Fleet, took time.Duration, o fleetOptions, to console) error {
	s := fleet.Stats()
	if s.Connects == 0 {
		return fmt.Errorf("no device got a connection to %s — hint: is the broker running there?", o.config.Addr)
	}
	ms := func(share float64) float64 { return float64(s.Latency.Quantile(share)) / float64(time.Millisecond) }
	summary := fleetSummary{
		Devices: o.config.Devices, Seconds: took.Seconds(), Published: s.Published,
		Acked: s.Acked, AckedPerSecond: float64(s.Acked) / took.Seconds(), Refused: s.Refused,
		Republished: s.Republished, Unexpected: s.Unexpected, Connects: s.Connects,
		BytesOut: s.BytesOut, BytesIn: s.BytesIn, LatencyP50: ms(.5), LatencyP99: ms(.99), LatencyMax: ms(1),
	}
	if o.json {
		return json.NewEncoder(to.out).Encode(summary)
	}
	_, err := fmt.Fprintf(to.out, "%s published, %s acknowledged, %s/s, p50 %.2f ms, p99 %.2f ms; %d refused, %d published again\n",
		thousands(s.Published), thousands(s.Acked), thousands(uint64(summary.AckedPerSecond)),
		summary.LatencyP50, summary.LatencyP99, s.Refused, s.Republished)
	return err
}
