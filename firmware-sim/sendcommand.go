package firmwaresim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
)

const sendUsage = `
Sends the telemetry of simulated devices to a URL. What was acknowledged is
written into the ledger, after the acknowledgement was parsed:

  http://host:port/…   201 or any other 2xx. After 429, 503 and silence the same is
                       sent again, after Retry-After if there is one
  coap://host/…        2.04 or any other 2.xx. CON, retransmitted as RFC 7252 says,
                       in blocks (Block1) if it is long; -non is not acknowledged
  tcp://host:port      the text of -reply for each frame, in their order
  udp://host:port      the text of -reply for each datagram

Without -reply, tcp and udp are not acknowledged; the ledger has what was sent.
{device} in the URL stands for the device's name. Faults, where they make sense:

  split, merge 20%, noise 1%, corrupt 1%, drop 0.5%, duplicate 1%, stuck 10%,
  pause 5%x200ms, clock1970         a word without a share means each message

Examples:
  firmware-sim send -to http://127.0.0.1:8081/v1/readings/{device}/telemetry -n 20 -rate 2
  firmware-sim send -to coap://127.0.0.1/{device}/telemetry -faults "drop 10%" -ledger acked.ledger
  firmware-sim send -to tcp://127.0.0.1:4000 -encoding kv -reply 'OK\n' -window 20 -rate 0 -for 10s
  firmware-sim send -to udp://127.0.0.1:4001 -encoding cobs -count 1000 -json`

// sendOptions are the flags of the command send.
type sendOptions struct {
	config    SenderConfig
	reply     string
	tokenFile string
	length    time.Duration
	ledger    string
	json      bool
}

func parseSendFlags(args []string, to console) (sendOptions, error) {
	var o sendOptions
	c := &o.config
	flags := newFlags("send", sendUsage, to)
	flags.StringVar(&c.URL, "to", "", "`URL`, with {device} and, for plain, {metric}")
	flags.IntVar(&c.Devices, "n", 1, "`number` of devices")
	flags.Float64Var(&c.Rate, "rate", 1, "messages a second and device; 0: as fast as answers come")
	flags.Uint64Var(&c.Count, "count", 0, "messages of all devices; 0: no end")
	flags.IntVar(&c.Window, "window", 1, "unanswered messages a device")
	flags.StringVar((*string)(&c.Shape), "shape", string(JSON4), fmt.Sprint("payload over HTTP and CoAP, one of ", Shapes()))
	flags.StringVar((*string)(&c.Encoding), "encoding", string(JSONLine), fmt.Sprint("frames over TCP and UDP, one of ", Encodings()))
	flags.BoolVar(&c.Summed, "crc", false, "lines of text end in the four digits of a CRC-16/IBM-3740")
	flags.BoolVar(&c.Named, "named", false, "lines of text say the device's name")
	flags.StringVar(&o.reply, "reply", "", `what acknowledges a frame over TCP and UDP, such as 'OK\n'`)
	flags.DurationVar(&c.Timeout, "timeout", 10*time.Second, "how long an answer over HTTP, TCP or UDP may take")
	flags.StringVar(&o.tokenFile, "token-file", "", "`file` with the token for HTTP")
	flags.BoolVar(&c.Put, "put", false, "PUT instead of POST")
	flags.BoolVar(&c.NonConfirmable, "non", false, "messages over CoAP that nobody acknowledges")
	flags.IntVar(&c.BlockSize, "block", 512, "`bytes` of a block over CoAP, a power of two from 16 to 1024")
	flags.BoolVar(&c.Forgiving, "forgiving", false, "retransmissions over CoAP may bring readings of their own, as when a gateway was killed")
	flags.TextVar(&c.Faults, "faults", Faults{}, "what goes wrong")
	flags.StringVar(&c.Prefix, "prefix", "dev-", "how the devices' names begin")
	flags.Uint64Var(&c.Seed, "seed", 1, "the same seed makes the same values and faults")
	flags.DurationVar(&o.length, "for", 0, "`duration`, such as 30s; 0: no end")
	flags.StringVar(&o.ledger, "ledger", "", "new `file` for what was sent and acknowledged")
	flags.BoolVar(&o.json, "json", false, "print the summary as JSON")
	if err := parseFlags(flags, args); err != nil {
		return o, err
	}
	if c.URL == "" {
		return o, usageError{errors.New("-to is missing — hint: firmware-sim help send")}
	}
	reply, err := unescape(o.reply)
	if err != nil {
		return o, usageError{err}
	}
	c.Reply, c.Audited = reply, o.ledger != ""
	return o, nil
}

func runSend(ctx context.Context, args []string, to console) error {
	o, err := parseSendFlags(args, to)
	if err != nil {
		return err
	}
	token, err := conf.ReadSecretIf(o.tokenFile)
	if err != nil {
		return err
	}
	o.config.Token = token.Reveal()
	if _, err := NewSender(o.config, nil); err != nil { // before a ledger is made
		return usageError{err}
	}
	ledger, err := createLedger(o.ledger)
	if err != nil {
		return err
	}
	defer ledger.close()
	sender, err := NewSender(o.config, ledger)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := forSoLong(ctx, o.length)
	defer cancel()
	took, err := watchSender(ctx, sender, newDisplay(to.err))
	if err != nil {
		return err
	}
	return reportSender(sender.Stats(), took, o, to)
}

// watchSender runs a sender and shows how it is doing.
func watchSender(ctx context.Context, sender *Sender, show *display) (time.Duration, error) {
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	tick := time.NewTicker(show.interval())
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			took := time.Since(began)
			show.say("the devices have stopped after %v", took.Round(time.Millisecond))
			return took, err
		case now := <-tick.C:
			s := sender.Stats()
			line := fmt.Sprintf("%7s   %s sent   %s acknowledged   p50 %v", now.Sub(began).Round(time.Second),
				thousands(s.Messages), thousands(s.Acked), s.Latency.Quantile(.5).Round(10*time.Microsecond))
			if s.Troubles > 0 {
				line += fmt.Sprintf("   %s troubles, the last: %.80s", thousands(s.Troubles), s.LastTrouble)
			}
			show.renew("%s", line)
		}
	}
}

// senderSummary is what -json prints. Latencies are in milliseconds.
type senderSummary struct {
	Devices        int     `json:"devices"`
	Seconds        float64 `json:"seconds"`
	Sent           uint64  `json:"sent"`
	Acked          uint64  `json:"acked"`
	AckedPerSecond float64 `json:"acked_per_second"`
	Refused        uint64  `json:"refused"`
	Again          uint64  `json:"again"`
	Retransmitted  uint64  `json:"retransmitted"`
	Troubles       uint64  `json:"troubles"`
	LastTrouble    string  `json:"last_trouble,omitempty"`
	Bytes          uint64  `json:"bytes"`
	LatencyP50     float64 `json:"latency_p50_ms"`
	LatencyP99     float64 `json:"latency_p99_ms"`
	LatencyMax     float64 `json:"latency_max_ms"`
}

func reportSender(s SenderStats, took time.Duration, o sendOptions, to console) error {
	ms := func(share float64) float64 { return float64(s.Latency.Quantile(share)) / float64(time.Millisecond) }
	summary := senderSummary{
		Devices: o.config.Devices, Seconds: took.Seconds(), Sent: s.Messages, Acked: s.Acked,
		AckedPerSecond: float64(s.Acked) / took.Seconds(), Refused: s.Refused, Again: s.Again,
		Retransmitted: s.Retransmitted, Troubles: s.Troubles, LastTrouble: s.LastTrouble, Bytes: s.Bytes,
		LatencyP50: ms(.5), LatencyP99: ms(.99), LatencyMax: ms(1),
	}
	if o.json {
		return json.NewEncoder(to.out).Encode(summary)
	}
	line := fmt.Sprintf("%s sent, %s acknowledged, %s/s, p50 %.2f ms, p99 %.2f ms; %d refused, %d sent again, %d retransmitted",
		thousands(s.Messages), thousands(s.Acked), thousands(uint64(summary.AckedPerSecond)),
		summary.LatencyP50, summary.LatencyP99, s.Refused, s.Again, s.Retransmitted)
	if s.LastTrouble != "" {
		line += "; last trouble: " + s.LastTrouble
	}
	_, err := fmt.Fprintln(to.out, line)
	return err
}
