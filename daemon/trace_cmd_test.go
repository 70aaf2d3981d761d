package daemon

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
)

// Golden: what "tidegate trace" prints, with times in the reader's zone, and what
// devices and other sides said kept harmless.
func TestTraceForPeople(t *testing.T) {
	at := func(ms int) int64 {
		return time.Date(2026, 11, 28, 18, 47, 36, ms*1e6, time.Local).UnixMilli()
	}
	trace := api.Traced{
		Device: "boiler\x1b[31m", Metric: "temp", Unit: "Cel", Quality: "bad", Value: 21.5, Lane: "normal", Seq: 4711, Epoch: "9beea3f2f76cfde3",
		Steps: []api.Step{
			{Mood: "ok", Title: "Measured", Text: "{" + fmt.Sprint(at(250)) + "}, stamped by the gateway"},
			{Mood: "ok", Title: "On flash", Text: "{" + fmt.Sprint(at(258)) + "}, within 8.4 ms"},
			{Mood: "ok", Title: "stick", Text: "sent {" + fmt.Sprint(at(262)) + "} in 105 bytes with 1 other; acknowledged {" + fmt.Sprint(at(274)) + "}"},
			{Mood: "bad", Title: "cloud", Text: "refused, and set aside as cloud/normal/4711", Why: "400 \"{1795891656250}\"\r\nno"},
		},
	}
	const want = `boiler·[31m temp = 21.5 Cel bad  (normal 4711 of epoch 9beea3f2f76cfde3)

Measured  2026-11-28 18:47:36.250, stamped by the gateway
On flash  2026-11-28 18:47:36.258, within 8.4 ms
stick     sent 2026-11-28 18:47:36.262 in 105 bytes with 1 other; acknowledged 2026-11-28 18:47:36.274
cloud     refused, and set aside as cloud/normal/4711: 400 "{1795891656250}"··no
`
	if got := traceText(trace); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
