package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// The poster is what many begin with: a loop that posts one reading a request, as
// JSON, on a connection that is kept. It keeps nothing on disk.

// servePoster waits to be told what to post: GET /post?to=host:port&messages=N,
// and &rate=R for so many a second.
func servePoster(ctx context.Context, s seat) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /post", func(w http.ResponseWriter, r *http.Request) {
		if err := post(r.Context(), r.FormValue("to"), r.FormValue("messages"), r.FormValue("rate")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return serveUntil(ctx, s.listen, mux)
}

// serveSinkhole takes everything and keeps nothing.
func serveSinkhole(ctx context.Context, s seat) error {
	return serveUntil(ctx, s.listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	}))
}

func serveUntil(ctx context.Context, listen string, h http.Handler) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// sample is a payload of shape JSON4.
type sample struct {
	TS                   int64
	Temp, Hum, Bat, RSSI json.Number
}

// post sends the readings of so many messages, of a hundred devices in turn.
func post(ctx context.Context, to, messages, rate string) error {
	n, err := strconv.Atoi(messages)
	if err != nil {
		return err
	}
	perSecond, err := strconv.ParseFloat(rate, 64)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var devices []*firmwaresim.Device
	for i := range 100 {
		devices = append(devices, firmwaresim.NewDevice(1, i, firmwaresim.JSON4, false))
	}
	p := poster{to: to, conn: conn, answers: bufio.NewReader(conn)}
	began := time.Now()
	for i := range n {
		if perSecond > 0 {
			if err := let(ctx, time.Until(began.Add(time.Duration(float64(i)/perSecond*float64(time.Second))))); err != nil {
				return err
			}
		}
		device := i % len(devices)
		if err := p.message(fmt.Sprintf("dev-%04d", device), devices[device].Append(nil, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

type poster struct {
	to      string
	conn    net.Conn
	answers *bufio.Reader
	request []byte
}

// message posts the readings of a message one after the other.
func (p *poster) message(device string, payload []byte) error {
	var s sample
	if err := json.Unmarshal(payload, &s); err != nil {
		return err
	}
	for _, r := range []struct {
		metric string
		value  json.Number
	}{{"temp", s.Temp}, {"hum", s.Hum}, {"bat", s.Bat}, {"rssi", s.RSSI}} {
		body := fmt.Sprintf(`{"device":%q,"metric":%q,"value":%s,"ts":%d}`, device, r.metric, r.value, s.TS)
		// The headers are curl's.
		p.request = fmt.Appendf(p.request[:0], "POST /v1/readings HTTP/1.1\r\nHost: %s\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", p.to, len(body), body)
		if _, err := p.conn.Write(p.request); err != nil {
			return err
		}
		answer, err := http.ReadResponse(p.answers, nil)
		if err != nil {
			return err
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusNoContent {
			return errors.Join(err, fmt.Errorf("answered with %s", answer.Status))
		}
	}
	return nil
}
