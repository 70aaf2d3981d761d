package httpout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/httpjudge"
	"github.com/tidegate/tidegate/uplink"
)

// judge turns an answer into the error of Send: nil, Permanent, TooLarge,
// RetryAfter or transient. What a status means stands in package httpjudge.
// Wrong credentials and wrong addresses are never held against the readings:
// they wait until somebody has corrected the configuration.
func judge(resp *http.Response, answer []byte, key uplink.Key, trustStatus bool) error {
	v := httpjudge.Judge(resp.StatusCode, resp.Header, time.Now())
	err := errors.New(httpjudge.Describe(resp.StatusCode, answer) + " — hint: " + v.Hint)
	switch v.Class {
	case httpjudge.Accepted:
		if trustStatus && !isPage(resp) || acknowledges(answer, key) {
			return nil
		}
		return errors.New(httpjudge.Describe(resp.StatusCode, answer) + " — hint: the answer is not an acknowledgement of this message; " +
			"is a login page or a proxy in between? For an endpoint that is not a tidegate cloud, say so in the configuration")
	case httpjudge.TooLarge:
		return uplink.TooLarge(err)
	case httpjudge.Permanent:
		return uplink.Permanent(err)
	}
	if v.Delay > 0 {
		return uplink.RetryAfter(err, v.Delay)
	}
	return err
}

// acknowledgement is the answer of a tidegate cloud.
type acknowledgement struct {
	Acked *struct {
		Epoch string `json:"epoch"`
		Lane  string `json:"lane"`
		First uint64 `json:"first"`
		Last  uint64 `json:"last"`
	} `json:"acked"`
}

// acknowledges reports whether the answer takes custody of all that key names.
func acknowledges(answer []byte, key uplink.Key) bool {
	var a acknowledgement
	if json.Unmarshal(answer, &a) != nil || a.Acked == nil {
		return false
	}
	return a.Acked.Epoch == fmt.Sprintf("%016x", key.Epoch) && a.Acked.Lane == key.Lane.String() &&
		a.Acked.First <= key.First && a.Acked.Last >= key.Last
}

// isPage reports whether the answer is for people: a login page in between says
// 200 to anything, and no endpoint that takes readings answers with HTML.
func isPage(resp *http.Response) bool {
	return strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/html")
}
