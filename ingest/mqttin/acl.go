package mqttin

import (
	"errors"
	"fmt"
	"strings"
)

// Everybody is the User of a Rule for all who may connect.
const Everybody = "*"

// Rule lets a user publish to and subscribe to topics. Rules add up: what none
// of them allows is refused. Without any rule, everything is allowed.
type Rule struct {
	// User is a name, or Everybody.
	User string
	// Publish and Subscribe are topic filters. {user} and {client} in them stand
	// for the user's name and the client identifier; a filter gives nothing to
	// whose name is empty, begins with $ or holds one of / + #.
	Publish, Subscribe []string
}

// CheckRuleFilter says what is wrong with a filter of a Rule.
func CheckRuleFilter(filter string) error {
	if strings.HasPrefix(filter, "$share/") {
		return errors.New("a shared subscription is allowed by what it subscribes to — hint: leave out $share and the group")
	}
	bare := strings.NewReplacer(userMark, "x", clientMark, "x").Replace(filter)
	if strings.ContainsAny(bare, "{}") {
		return fmt.Errorf("%q has a name in braces that means nothing — hint: write {user} or {client}", filter)
	}
	if !validText([]byte(bare)) || checkFilter([]byte(bare)) != nil {
		return fmt.Errorf("%q is no topic filter — hint: write for example \"dev/{user}/#\"", filter)
	}
	return nil
}

// UsesClient says whether a filter of a Rule depends on the client identifier.
func UsesClient(filter string) bool { return strings.Contains(filter, clientMark) }

const (
	userMark   = "{user}"
	clientMark = "{client}"
)

// rights are what the rules allow one client. Nil allows everything.
type rights struct{ publish, subscribe []string }

// rightsOf adds up what the rules allow.
func rightsOf(rules []Rule, user, client string) *rights {
	if len(rules) == 0 {
		return nil
	}
	r := &rights{}
	for _, rule := range rules {
		if rule.User == Everybody || rule.User == user && user != "" {
			r.publish = appendFilters(r.publish, rule.Publish, user, client)
			r.subscribe = appendFilters(r.subscribe, rule.Subscribe, user, client)
		}
	}
	return r
}

// appendFilters fills the names into the filters, in one pass: a name that looks
// like a mark is not filled in again.
func appendFilters(dst, filters []string, user, client string) []string {
	fill := strings.NewReplacer(userMark, user, clientMark, client)
	for _, filter := range filters {
		wide := strings.Contains(filter, userMark) && !isLevel(user) ||
			strings.Contains(filter, clientMark) && !isLevel(client)
		if !wide {
			dst = append(dst, fill.Replace(filter))
		}
	}
	return dst
}

// isLevel says whether a name stands for one level of a topic, and one that
// anybody may use.
func isLevel(name string) bool {
	return name != "" && name[0] != '$' && !strings.ContainsAny(name, "/+#")
}

func (r *rights) mayPublish(topic string) bool {
	return r == nil || coveredByAny(r.publish, topic)
}

// maySubscribe takes a filter, and a topic just as well: that is a filter for
// itself.
func (r *rights) maySubscribe(filter string) bool {
	if r == nil {
		return true
	}
	if group, ok := strings.CutPrefix(filter, "$share/"); ok {
		_, filter, _ = strings.Cut(group, "/")
	}
	return coveredByAny(r.subscribe, filter)
}

func coveredByAny(allowed []string, filter string) bool {
	for _, a := range allowed {
		if covers(a, filter) {
			return true
		}
	}
	return false
}

// covers says whether every topic that the requested filter matches is matched
// by the allowed one. Wildcards do not match a first level that begins with $.
func covers(allowed, requested string) bool {
	if strings.HasPrefix(requested, "$") && (allowed[0] == '+' || allowed[0] == '#') {
		return false
	}
	if requested == "#" {
		requested = "+/#" // the same: no topic is without a level
	}
	for {
		a, allowedRest, allowedMore := strings.Cut(allowed, "/")
		r, requestedRest, requestedMore := strings.Cut(requested, "/")
		switch {
		case a == "#":
			return true
		case r == "#" || a != "+" && a != r:
			return false
		case !requestedMore:
			return !allowedMore || allowedRest == "#" // "a/#" matches "a"
		case !allowedMore:
			return false
		}
		allowed, requested = allowedRest, requestedRest
	}
}
