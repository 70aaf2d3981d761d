package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/logtail"
)

// mostFollowers bounds who follows the log at once.
const mostFollowers = 8

// missed stands in a log for records that were pushed out before they were read.
type missed struct {
	Missed bool `json:"missed"`
}

// Log shows the last records of the log, and those that come.
func Log(tail *logtail.Tail) []dashboard.Route {
	seats := make(chan struct{}, mostFollowers)
	return []dashboard.Route{operate("GET /api/v1/log", func(w http.ResponseWriter, r *http.Request) {
		after, least, follow, err := readLogQuery(r)
		if err != nil {
			Answer(w, nil, Invalid(err))
			return
		}
		select {
		case seats <- struct{}{}:
			defer func() { <-seats }()
			follows(w, r, tail, after, least, follow)
		default:
			Answer(w, nil, Unavailable(fmt.Errorf("%d read the log already — hint: close one of them", mostFollowers)))
		}
	})}
}

func readLogQuery(r *http.Request) (after uint64, least slog.Level, follow bool, err error) {
	q := r.URL.Query()
	if text := q.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, 0, false, fmt.Errorf("after=%q is no number — hint: take the n of a line", text)
		}
	}
	if text := q.Get("level"); text != "" && least.UnmarshalText([]byte(text)) != nil {
		return 0, 0, false, fmt.Errorf("there is no level %q — hint: debug, info, warn or error", text)
	}
	switch q.Get("follow") {
	case "", "true":
		return after, least, true, nil
	case "false":
		return after, least, false, nil
	}
	return 0, 0, false, errors.New("follow is neither true nor false — hint: leave it out to follow the log")
}

func follows(w http.ResponseWriter, r *http.Request, tail *logtail.Tail, after uint64, least slog.Level, follow bool) {
	out := NewLines(w)
	if out.Begin() != nil {
		return
	}
	for {
		part := tail.After(after, least)
		if part.Missed && out.Write(missed{true}) != nil {
			return
		}
		for _, record := range part.Records {
			if out.Write(record) != nil {
				return
			}
		}
		if after = part.Place; !follow {
			return
		}
		select {
		case <-part.Changed:
		case <-r.Context().Done():
			return
		}
	}
}
