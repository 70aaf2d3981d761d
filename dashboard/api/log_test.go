package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/logtail"
)

// serve serves routes until the test ends.
func serve(t *testing.T, routes ...dashboard.Route) string {
	t.Helper()
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.Pattern, r.Handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// reader reads lines of an answer.
type reader struct {
	*testing.T
	lines  *bufio.Scanner
	status int
}

func listen(t *testing.T, ctx context.Context, url string) *reader {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &reader{t, bufio.NewScanner(resp.Body), resp.StatusCode}
}

type line struct {
	logtail.Record
	Missed bool
	Error  string
}

// next returns the next line; the zero line at the end.
func (r *reader) next() (l line) {
	r.Helper()
	if !r.lines.Scan() {
		return line{}
	}
	if err := json.Unmarshal(r.lines.Bytes(), &l); err != nil {
		r.Fatalf("%s: %v", r.lines.Bytes(), err)
	}
	return l
}

func TestALogIsReadFromItsBeginningAndLive(t *testing.T) {
	tail := logtail.New(slog.DiscardHandler)
	log := slog.New(tail)
	url := serve(t, Log(tail)...) + "/api/v1/log"
	log.Info("first", "sink", "cloud")
	log.Debug("chatter")
	log.Warn("second")

	ctx, stop := context.WithCancel(t.Context())
	r := listen(t, ctx, url)
	first, second := r.next(), r.next()
	if first.Text != "first" || first.About != "sink=cloud" || first.Level != "INFO" || second.Text != "second" {
		t.Fatalf("got %+v, %+v", first, second)
	}
	log.Debug("more chatter")
	log.Error("third")
	if third := r.next(); third.Text != "third" || third.N <= second.N {
		t.Errorf("live: %+v", third)
	}
	stop()

	for query, want := range map[string]string{
		"?follow=false":                                       "first second third",
		"?follow=false&level=debug":                           "first chatter second more chatter third",
		"?follow=false&level=warn":                            "second third",
		fmt.Sprintf("?follow=false&after=%d", second.N):       "third",
		"?follow=false&level=error&after=9007199254740991":    "third", // of another life
		fmt.Sprintf("?follow=false&after=%d", second.N+1<<10): "first second third",
	} {
		var got []string
		for r := listen(t, t.Context(), url+query); ; {
			l := r.next()
			if l.Text == "" {
				break
			}
			got = append(got, l.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestALogThatIsReadTooLateSaysSo(t *testing.T) {
	tail := logtail.New(slog.DiscardHandler)
	log := slog.New(tail)
	log.Info("first")
	place := tail.After(0, slog.LevelInfo).Place
	for i := range 2000 {
		log.Info(fmt.Sprint("word ", i))
	}
	r := listen(t, t.Context(), serve(t, Log(tail)...)+fmt.Sprintf("/api/v1/log?follow=false&after=%d", place))
	if l := r.next(); !l.Missed {
		t.Errorf("the first line is %+v", l)
	}
	if l := r.next(); !strings.HasPrefix(l.Text, "word ") {
		t.Errorf("then comes %+v", l)
	}
}

func TestALogRefusesWhatMakesNoSense(t *testing.T) {
	url := serve(t, Log(logtail.New(slog.DiscardHandler))...) + "/api/v1/log"
	for _, query := range []string{"after=-1", "after=x", "level=loud", "follow=maybe"} {
		r := listen(t, t.Context(), url+"?"+query)
		if l := r.next(); r.status != http.StatusBadRequest || !strings.Contains(l.Error, " — hint: ") {
			t.Errorf("%s: HTTP %d, %+v", query, r.status, l)
		}
	}
}

func TestFollowersAreBounded(t *testing.T) {
	tail := logtail.New(slog.DiscardHandler)
	slog.New(tail).Info("first")
	url := serve(t, Log(tail)...) + "/api/v1/log"
	ctx, stop := context.WithCancel(t.Context())
	for range mostFollowers {
		if r := listen(t, ctx, url); r.next().Text != "first" {
			t.Error("a follower gets nothing")
		}
	}
	r := listen(t, t.Context(), url)
	if l := r.next(); r.status != http.StatusServiceUnavailable || !strings.Contains(l.Error, "hint") {
		t.Errorf("one more: HTTP %d, %+v", r.status, l)
	}
	stop()
	for { // they are let go when the server notices
		if r := listen(t, t.Context(), url+"?follow=false"); r.status == http.StatusOK {
			return
		}
	}
}
