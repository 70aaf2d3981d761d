package httpout

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// TestWordsOfDatabases: what only a person can change is never held against the
// readings, and no name that a device gives itself makes an answer that.
func TestWordsOfDatabases(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
		waits  bool // for a person
		hint   string
	}{
		{400, `{"error":"database is required"}`, true, "/write?db=NAME"},
		{404, `{"error":"database not found: \"tied\""}`, true, "create the database"},
		{404, `{"code":"not found","message":"bucket \"tied\" not found"}`, true, "create the bucket"},
		{400, `{"code":"invalid","message":"org or orgID is required"}`, true, "org=NAME"},
		{400, `{"code":"invalid","message":"invalid precision; valid precision units are ns, us, ms, and s"}`, true, "leave precision= out"},
		{400, `remoteAddr: "127.0.0.1:5, X-Forwarded-For: a"; requestURI: /writes?db=a; unsupported path requested: "/writes"`, true, "path of the url"},
		{401, `{"code":"unauthorized","message":"unauthorized access"}`, true, "the user and the password"},
		{400, `{"error":"partial write: field type conflict: input field \"database not found\" on measurement \"m\" is type string dropped=1"}`, false, "kinds_apart"},
		{400, `{"error":"partial write: points beyond retention policy dropped=3"}`, false, "older than"},
		{400, `{"error":"unable to parse 'database is required x=1': invalid number"}`, false, "encoding"},
		{422, `{"code":"unprocessable entity","message":"partial write: dropped=5"}`, false, "all points but these"},
		{400, `requestURI: a; unsupported path requested`, false, "encoding"},
		{400, `{"error":7,"message":["database is required"]}`, false, "encoding"},
		{400, ``, false, "encoding"},
	} {
		err := verdict(&http.Response{StatusCode: c.status}, []byte(c.answer))
		delay, waits := uplink.RetryDelay(err)
		if waits != c.waits || uplink.IsPermanent(err) == c.waits || waits && delay != time.Minute {
			t.Errorf("%d %s: %v", c.status, c.answer, err)
		}
		if hint := err.Error()[strings.LastIndex(err.Error(), "hint: "):]; !strings.Contains(hint, c.hint) {
			t.Errorf("%d %s: %s, want %q", c.status, c.answer, hint, c.hint)
		}
	}
}
