package firmwaresim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer     = 64 << 10  // bytes of an answer that are looked at
	maxRetryAfter = time.Hour // that is obeyed
)

// httpCourier POSTs each shipment until 2xx.
type httpCourier struct {
	device *sendingDevice
	client *http.Client
}

func newHTTPCourier(d *sendingDevice) *httpCourier {
	window := d.sender.cfg.Window
	return &httpCourier{device: d, client: &http.Client{
		Timeout:       d.sender.cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxConnsPerHost: window, MaxIdleConnsPerHost: window, DisableCompression: true,
		},
	}}
}

func (c *httpCourier) close() { c.client.CloseIdleConnections() }

func (c *httpCourier) bring(ctx context.Context, p *shipment) fate {
	copies, pause := c.device.copies()
	if pause > 0 && sleepUntil(ctx, time.Now().Add(pause)) != nil {
		return fate{kind: fateAgain, err: ctx.Err()}
	}
	f := c.post(ctx, p)
	if copies > 1 && f.kind == fateAcked {
		c.device.repeat(p)
		c.post(ctx, p) // whatever is answered: the shipment was acknowledged
	}
	return f
}

func (c *httpCourier) post(ctx context.Context, p *shipment) fate {
	method := http.MethodPost
	if c.device.sender.cfg.Put {
		method = http.MethodPut
	}
	request, err := http.NewRequestWithContext(ctx, method, p.url.String(), bytes.NewReader(p.payload))
	if err != nil {
		return fate{kind: fateRefused, err: fmt.Errorf("%w: %w", ErrUnwanted, err)}
	}
	if shape := c.device.sender.cfg.Shape; shape != Plain {
		request.Header.Set("Content-Type", "application/json")
	}
	if token := c.device.sender.cfg.Token; token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return fate{kind: fateAgain, err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fate{kind: fateAgain, err: err}
	}
	return judge(response, body)
}

// judge says what an answer means to a device: 2xx is custody, what says that it
// may be otherwise later is tried again, and the rest is refused. Of the latter,
// some would refuse anything that this device sends.
func judge(response *http.Response, body []byte) fate {
	status := response.StatusCode
	err := fmt.Errorf("%s: %.200s", response.Status, strings.TrimSpace(string(body)))
	switch {
	case status/100 == 2:
		return fate{kind: fateAcked}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return fate{kind: fateAgain, after: retryAfter(response.Header.Get("Retry-After"), time.Now()), err: err}
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed, status/100 == 3:
		return fate{kind: fateRefused, err: fmt.Errorf("%w: %w", ErrUnwanted, err)}
	}
	return fate{kind: fateRefused, err: err}
}

// retryAfter reads the header, which is seconds or a time (RFC 9110, §10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
