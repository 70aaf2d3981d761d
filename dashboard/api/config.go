package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// MinTrial and MaxTrial bound how long a configuration is on trial, UsualTrial is
// how long if nobody says.
const (
	MinTrial   = 10 * time.Second
	UsualTrial = 2 * time.Minute
	MaxTrial   = time.Hour
)

// Configuration is the configuration of a running gateway, and who changes it.
type Configuration interface {
	// State is the text that runs.
	State() ConfigState
	// Check says what is wrong with a text; machine says that who asks has access to the
	// machine itself.
	Check(ctx context.Context, text string, machine bool) ConfigReport
	// Plan says what a text would change; machine is as in Check.
	Plan(text string, machine bool) (ConfigPlan, error)
	// Carry carries out an order, and returns when that is done.
	Carry(ctx context.Context, order ConfigOrder) error
}

// ConfigState is what runs.
type ConfigState struct {
	// Path is the file of the configuration; empty if there is none.
	Path string `json:"path"`
	// Text is what runs, and Revision tells it from other texts.
	Text     string `json:"text"`
	Revision string `json:"revision"`
	// Trial is not nil while Text is on trial.
	Trial *ConfigTrial `json:"trial,omitempty"`
	// Tried is a text that was on trial and was not kept; empty for none.
	Tried string `json:"tried,omitempty"`
}

// ConfigTrial is a configuration on trial.
type ConfigTrial struct {
	// Left is for how many seconds, before it is undone.
	Left float64 `json:"left"`
	// Kept is the text that comes back then.
	Kept string `json:"kept"`
}

// ConfigReport is what is wrong with a text.
type ConfigReport struct {
	// Problems keep it from being read. Findings are about what it would change.
	Problems []ConfigProblem `json:"problems"`
	Findings []ConfigFinding `json:"findings"`
}

// ConfigProblem is one fault of a text. Line and Column count from 1; 0 is none.
type ConfigProblem struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Key    string `json:"key"`
	What   string `json:"what"`
	Hint   string `json:"hint"`
}

// ConfigFinding is a line of the checklist. Level is ok, warn or fail.
type ConfigFinding struct {
	Level string `json:"level"`
	What  string `json:"what"`
	Hint  string `json:"hint,omitempty"`
}

// ConfigPlan is what a text would change.
type ConfigPlan struct {
	// Diff is in the unified format, empty if the text is what runs.
	Diff string `json:"diff"`
	// Changes are sentences, none if nothing is interrupted.
	Changes []string `json:"changes"`
}

// ConfigOrder is what is to be done: apply, confirm, revert or reload.
type ConfigOrder struct {
	Do string
	// Text is to be applied in place of the Revision; or Revision is confirmed.
	Text, Revision string
	// Within is how long Text is on trial.
	Within time.Duration
	// By is who has said so, Machine that he has access to the machine itself.
	By      string
	Machine bool
}

// Config shows the configuration and changes it.
func Config(c Configuration) []dashboard.Route {
	return []dashboard.Route{
		operate("GET /api/v1/config", func(w http.ResponseWriter, _ *http.Request) { Answer(w, c.State(), nil) }),
		operate("POST /api/v1/config/check", withConfigText(func(r *http.Request, text string) (any, error) {
			return c.Check(r.Context(), text, dashboard.CallerOf(r).Machine), nil
		})),
		operate("POST /api/v1/config/diff", withConfigText(func(r *http.Request, text string) (any, error) {
			return c.Plan(text, dashboard.CallerOf(r).Machine)
		})),
		operate("POST /api/v1/config/apply", orderConfig(c, "apply")),
		operate("POST /api/v1/config/confirm", orderConfig(c, "confirm")),
		operate("POST /api/v1/config/revert", orderConfig(c, "revert")),
		operate("POST /api/v1/config/reload", orderConfig(c, "reload")),
	}
}

// maxConfigBody is the largest text, in which every byte is escaped, and some.
const maxConfigBody = 6*ontrial.MaxBytes + 4096

// withConfigText answers requests with a text.
func withConfigText(answer func(r *http.Request, text string) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Text string `json:"text"`
		}
		if err := Read(w, r, maxConfigBody, &body); err != nil {
			Answer(w, nil, err)
			return
		}
		value, err := answer(r, body.Text)
		Answer(w, value, err)
	}
}

// orderConfig has an order carried out, and answers with what runs then.
func orderConfig(c Configuration, do string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Text     string `json:"text"`
			Revision string `json:"revision"`
			Within   string `json:"confirm_within"`
		}
		err := Read(w, r, maxConfigBody, &body)
		order := ConfigOrder{Do: do, Text: body.Text, Revision: body.Revision, By: whoAsks(r), Machine: dashboard.CallerOf(r).Machine}
		if err == nil {
			order.Within, err = trialOf(body.Within)
		}
		if err == nil {
			err = c.Carry(r.Context(), order)
		}
		Answer(w, c.State(), err)
	}
}

func trialOf(text string) (time.Duration, error) {
	if text == "" {
		return UsualTrial, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < MinTrial || d > MaxTrial {
		return 0, Invalid(fmt.Errorf("confirm_within: %q — hint: write a time from %v to %v, for example 2m", text, MinTrial, MaxTrial))
	}
	return d, nil
}

// whoAsks names for the log who sent a request.
func whoAsks(r *http.Request) string {
	c := dashboard.CallerOf(r)
	switch {
	case c.Token != "":
		return "token " + c.Token
	case !c.From.Addr.IsValid():
		return "somebody on the gateway" // at the admin socket
	}
	return c.From.Addr.String()
}
