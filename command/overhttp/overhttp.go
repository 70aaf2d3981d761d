// Package overhttp brings commands by HTTP, from a tidegate cloud or whoever answers
// as it does:
//
//	GET  URL?gateway=north-7&wait=30s     200 {"commands":[…]}, or 204 when there are none
//	POST URL/answers                      {"gateway":"north-7","answers":[…]}: 2xx
//
// A command is the other side's until it has an answer, so an answer is the
// acknowledgement. Each of the commands is a document, or
// {"queued":"2026-01-31T12:00:00Z","document":{…}}.
//
// Commands may also come beside the acknowledgement of readings, which costs no
// question: see Offer. Then there need not be any polling at all.
package overhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/httpjudge"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Config says whom to ask, as whom, and how often.
type Config struct {
	// URL is the endpoint, http or https.
	URL string
	// Gateway is the gateway's name.
	Gateway string
	// TokenFile holds a token for "Authorization: Bearer"; it is read anew with each
	// Run. Empty stands for none.
	TokenFile string
	// TLS is for https; nil stands for the system's authorities.
	TLS *tls.Config
	// Dial reaches the network; nil stands for a net.Dialer with 10 s.
	Dial onelink.Dial
	// Wait is for how long the other side may hold a question, 30 s by default, and
	// Pause how long none is asked after one that was answered with nothing. A
	// negative Pause asks none at all.
	Wait, Pause time.Duration
	// UserAgent names the gateway's program.
	UserAgent string
}

const (
	dialTimeout = 10 * time.Second
	// patience is how long an answer may take that is not held.
	patience = 30 * time.Second
	// maxAnswer bounds what the other side says, in bytes.
	maxAnswer = 2 << 20
	// maxOffered is how many commands that came beside others may wait.
	maxOffered = 64
	// maxTold is how many answers are sent at once.
	maxTold = 64
)

// Courier brings commands over HTTP. Run it in one goroutine at a time.
type Courier struct {
	cfg     Config
	url     *url.URL
	log     *slog.Logger
	offered chan item
}

// New returns a Courier. It does not connect yet.
func New(cfg Config, log *slog.Logger) (*Courier, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("commands: %q is no URL", cfg.URL)
	}
	if cfg.Wait == 0 {
		cfg.Wait = 30 * time.Second
	}
	return &Courier{cfg: cfg, url: u, log: log, offered: make(chan item, maxOffered)}, nil
}

// item is a command as it comes.
type item struct {
	Queued   time.Time       `json:"queued"`
	Document json.RawMessage `json:"document"`
}

// batch is what a question is answered with, and what may stand beside other things.
type batch struct {
	Commands []json.RawMessage `json:"commands"`
}

// parse reads the commands of a body. What is none is handed on as it is: the clerk
// refuses it, and the other side learns why.
func parse(body []byte) ([]item, error) {
	var b batch
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	var all []item
	for _, raw := range b.Commands {
		var i item
		if err := json.Unmarshal(raw, &i); err != nil || i.Document == nil {
			i = item{Document: raw}
		}
		all = append(all, i)
	}
	return all, nil
}

// Offer takes the commands in a body that is about something else, if there are
// any. It returns at once; what finds no room comes again, for it is not answered.
func (c *Courier) Offer(body []byte) {
	if !bytes.Contains(body, []byte(`"commands"`)) {
		return
	}
	all, err := parse(body)
	if err != nil {
		return
	}
	for _, i := range all {
		select {
		case c.offered <- i:
		default:
		}
	}
}

// run is one Run.
type run struct {
	*Courier
	clerk  *command.Clerk
	client *http.Client
	token  conf.Secret
	asked  bool // before; poll's own
}

// Run implements command.Courier.
func (c *Courier) Run(ctx context.Context, clerk *command.Clerk) error {
	r := &run{Courier: c, clerk: clerk}
	transport := c.transport()
	defer transport.CloseIdleConnections()
	r.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var err error
	if r.token, err = conf.ReadSecretIf(c.cfg.TokenFile); err != nil {
		return fmt.Errorf("commands from %s: %w", c.url.Host, err)
	}
	inner, cancel := context.WithCancel(ctx)
	polled, batches := make(chan error, 1), make(chan handed)
	var polling sync.WaitGroup
	polling.Go(func() { polled <- r.poll(inner, batches) })
	err = r.loop(inner, batches, polled)
	cancel()
	polling.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("commands from %s: %w", c.url.Host, netfault.Explain(err))
}

func (c *Courier) transport() *http.Transport {
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return &http.Transport{
		DialContext: dial, TLSClientConfig: c.cfg.TLS, TLSHandshakeTimeout: patience,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: 5 * time.Minute, DisableCompression: true,
	}
}

// Probe asks whether there are commands, and takes none: the other side hands them
// out again to whoever answers them.
func (c *Courier) Probe(ctx context.Context) (string, error) {
	r := &run{Courier: c}
	transport := c.transport()
	defer transport.CloseIdleConnections()
	r.client = &http.Client{Transport: transport}
	var err error
	if r.token, err = conf.ReadSecretIf(c.cfg.TokenFile); err != nil {
		return "", err
	}
	if _, err := r.ask(ctx, 0); err != nil {
		return "", fmt.Errorf("commands from %s: %w", c.url.Host, netfault.Explain(err))
	}
	return c.url.Host + " answers", nil
}

// loop decides what comes, and answers.
func (r *run) loop(ctx context.Context, batches <-chan handed, polled <-chan error) error {
	if r.cfg.Pause < 0 {
		r.clerk.Up("beside readings")
	}
	if err := r.tell(ctx, nil); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-polled:
			return err
		case h := <-batches:
			err = r.decide(ctx, h.items)
			close(h.done)
		case i := <-r.offered:
			err = r.decide(ctx, []item{i})
		case <-r.clerk.More():
			err = r.tell(ctx, nil)
		}
		if err != nil {
			return err
		}
	}
}

// decide has commands decided, and tells the answers.
func (r *run) decide(ctx context.Context, items []item) error {
	var answers []command.Answer
	for _, i := range items {
		a, err := r.clerk.Decide(ctx, command.Letter{Body: i.Document, Queued: i.Queued})
		if err != nil {
			return fmt.Errorf("a command is not decided: %w", errors.Join(err, r.tell(ctx, answers)))
		}
		answers = append(answers, a) // also if the sender does not want to know: it is the acknowledgement
	}
	return r.tell(ctx, answers)
}

// tell sends answers, and what is in the outbox.
func (r *run) tell(ctx context.Context, answers []command.Answer) error {
	late, last := r.clerk.Outbox()
	answers = append(answers, late...)
	for len(answers) > 0 {
		n := min(len(answers), maxTold)
		body, err := json.Marshal(map[string]any{"gateway": r.cfg.Gateway, "answers": answers[:n]})
		if err != nil {
			return err
		}
		if _, err := r.send(ctx, http.MethodPost, r.url.JoinPath("answers"), body, patience); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		answers = answers[n:]
	}
	r.clerk.Told(last)
	return nil
}

// poll asks for commands, and waits until those that came are answered.
func (r *run) poll(ctx context.Context, batches chan<- handed) error {
	if r.cfg.Pause < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		began, wait := time.Now(), r.cfg.Wait
		if !r.asked {
			wait = 0 // to know at once whether it works
		}
		items, err := r.ask(ctx, wait)
		if err != nil {
			return err
		}
		r.clerk.Up("HTTP")
		if len(items) > 0 {
			if err := hand(ctx, batches, items); err != nil {
				return err
			}
			continue
		}
		pause := r.cfg.Pause
		if wait > 0 { // one that does not hold questions is not asked all the time
			pause = max(pause, time.Second-time.Since(began))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// handed is what came, and how to say that it is answered.
type handed struct {
	items []item
	done  chan struct{}
}

// hand hands on what came, and waits until it is answered.
func hand(ctx context.Context, batches chan<- handed, items []item) error {
	h := handed{items, make(chan struct{})}
	select {
	case batches <- h:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask asks once. The first time, what was handed out before and has no answer is
// wanted again: it was lost with the connection.
func (r *run) ask(ctx context.Context, wait time.Duration) ([]item, error) {
	u := *r.url
	q := u.Query()
	q.Set("gateway", r.cfg.Gateway)
	q.Set("wait", wait.String())
	if !r.asked {
		q.Set("again", "1")
	}
	u.RawQuery = q.Encode()
	body, err := r.send(ctx, http.MethodGet, &u, nil, wait+patience)
	r.asked = r.asked || err == nil
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return nil, err
	}
	items, err := parse(body)
	if err != nil {
		return nil, errors.New("the answer is not JSON with commands — hint: is a login page or a proxy in between? check the path of the url")
	}
	return items, nil
}

// send makes a request and returns the body of a good answer.
func (r *run) send(ctx context.Context, method string, u *url.URL, body []byte, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", r.cfg.UserAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !r.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	}
	resp, err := r.client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("an answer of more than %d bytes — hint: is a proxy in between?", maxAnswer)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		v := httpjudge.Judge(resp.StatusCode, resp.Header, time.Now())
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			v.Hint = "check token_file; the token must be this gateway's"
		}
		return nil, errors.New(httpjudge.Describe(resp.StatusCode, answer) + " — hint: " + v.Hint)
	case strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/html"):
		return nil, errors.New("the answer is a page for people — hint: is a login page in between? check the path of the url")
	}
	return answer, nil
}
