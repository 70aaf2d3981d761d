package api

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What takes its time outlives the time that the server has for an answer: only a
// caller that goes away, or does not read, ends it.
func TestLinesComeForLongerThanAServerHasForAnAnswer(t *testing.T) {
	const lines, every = 12, 25 * time.Millisecond
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		if err := Read(w, r, 99, &struct{}{}); err != nil {
			t.Error(err)
		}
		Stream(w, func(tell func(int) error) error {
			for n := range lines {
				if err := tell(n); err != nil {
					return err
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return errors.New("the caller has gone")
				}
			}
			return nil
		})
	}))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 4*every, 4*every
	server.Start()
	defer server.Close()
	resp, err := http.Post(server.URL, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got []string
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		got = append(got, s.Text())
	}
	if len(got) != lines || got[lines-1] != "11" {
		t.Errorf("%q", got)
	}
}

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
