package api

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What takes its time outlives the time that the server has for an answer: only a
// caller that goes away, or does not read, ends it.
func TestLinesComeForLongerThanAServerHasForAnAnswer(t *testing.T) {
	const lines, every = 12, 5 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server := &http.Server{ReadTimeout: 4 * every, WriteTimeout: 4 * every, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := Read(w, r, 99, &struct{}{}); err != nil {
				t.Error(err)
			}
			Stream(w, func(tell func(int) error) error {
				for n := range lines {
					if err := tell(n); err != nil {
						return err
					}
					select {
					case <-time.After(every):
					case <-r.Context().Done():
						return errors.New("the caller has gone")
					}
				}
				return nil
			})
		})}
		near, far := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(&oneCaller{conn: far, closed: make(chan struct{})}) }()
		if _, err := io.WriteString(near, "POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(near), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			got = append(got, s.Text())
		}
		if len(got) != lines || got[lines-1] != "11" {
			t.Errorf("%q", got)
		}
		near.Close()
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// oneCaller is a listener to which one connection comes. It has no buffers, and its
// deadlines are those of the bubble's clock.
type oneCaller struct {
	conn   net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneCaller) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneCaller) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneCaller) Addr() net.Addr { return &net.TCPAddr{} }

func TestAStreamThatFailsBeforeItsFirstLineIsARefusal(t *testing.T) {
	for status, err := range map[int]error{
		http.StatusConflict: errors.New("no — hint: x"), http.StatusBadRequest: Invalid(errors.New("no — hint: x")),
		http.StatusNotFound: NotFound(errors.New("no — hint: x")), http.StatusOK: nil,
	} {
		w := httptest.NewRecorder()
		Stream(w, func(func(int) error) error { return err })
		if w.Code != status || (RefusalOf(w.Body) != "") != (err != nil) {
			t.Errorf("%d, want %d: %s", w.Code, status, w.Body)
		}
	}
	w := httptest.NewRecorder()
	Stream(w, func(tell func(int) error) error { return errors.Join(tell(7), errors.New("broke — hint: y")) })
	if got := w.Body.String(); w.Code != http.StatusOK || got != "7\n{\"error\":\"broke — hint: y\"}\n" {
		t.Errorf("%d %s", w.Code, got)
	}
}

func TestHexIsReadAsItIsWritten(t *testing.T) {
	for text, ok := range map[string]bool{"": true, "00ff41": true, "0": false, "zz": false} {
		var h Hex
		if err := h.UnmarshalText([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if back, _ := h.MarshalText(); ok && string(back) != text {
			t.Errorf("%q is %q", text, back)
		}
	}
}
