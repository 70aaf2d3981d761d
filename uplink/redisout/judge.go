package redisout

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

const (
	// fullDelay is how long to wait for memory.
	fullDelay = 15 * time.Second
)

// class is what becomes of a message.
type class int

const (
	transient class = iota
	config          // wait for a person
	full            // wait for memory
	tooLarge
)

// verdict is what an error means that begins with a text. keep says that the
// connection will do for the next message; others are made anew, because a name
// may lead elsewhere by then.
type verdict struct {
	begins string
	class  class
	keep   bool
	hint   string
}

// verdicts is the one table of what a server may say. The first that matches
// counts; what is not in it is taken for passing.
var verdicts = []verdict{
	{"OOM ", full, true, "the server's memory is full: raise maxmemory, trim its streams, or give it an eviction policy that spares them"},
	{"MISCONF ", transient, true, "the server cannot write to its disk; is it full?"},
	{"NOAUTH ", config, false, "set username and password_file"},
	{"WRONGPASS ", config, false, "check username and the password file"},
	{"ERR invalid password", config, false, "check the password file"},
	{"ERR AUTH ", config, false, "the server knows no password; take out password_file, or set requirepass"},
	{"ERR Client sent AUTH", config, false, "the server knows no password; take out password_file, or set requirepass"},
	{"NOPERM ", config, true, "let this user XADD to the stream: ACL SETUSER … +xadd ~stream"},
	{"DENIED ", config, false, "the server is in protected mode: set a password and bind in its configuration"},
	{"WRONGTYPE ", config, true, "the key of the stream holds something else; choose another stream"},
	{"READONLY ", transient, false, "this is a replica; set the url to the server that takes writes"},
	{"LOADING ", transient, true, "the server reads its data from disk, and will be ready then"},
	{"MASTERDOWN ", transient, false, "this is a replica without its master; set the url to the server that takes writes"},
	{"NOREPLICAS ", transient, true, "fewer replicas are there than min-replicas-to-write of the server"},
	{"MOVED ", config, false, "this is a node of a cluster, which is not supported; a proxy in front of it may help"},
	{"ASK ", config, false, "this is a node of a cluster, which is not supported; a proxy in front of it may help"},
	{"CROSSSLOT ", config, false, "this is a node of a cluster, which is not supported; a proxy in front of it may help"},
	{"CLUSTERDOWN ", transient, false, "this is a node of a cluster that does not work, and clusters are not supported"},
	{"TRYAGAIN ", transient, true, "the server is moving its data"},
	{"BUSY ", transient, true, "a script keeps the server busy; SCRIPT KILL ends it"},
	{"ERR max number of clients", transient, false, "raise maxclients of the server, or close what is idle"},
	{"ERR Protocol error: invalid bulk length", tooLarge, false, "raise proto-max-bulk-len of the server, or lower max_batch"},
	{"ERR string exceeds maximum allowed size", tooLarge, true, "raise proto-max-bulk-len of the server, or lower max_batch"},
	{"ERR Elements are too large", tooLarge, true, "lower max_batch"},
	{"ERR unknown command", config, true, "the server is too old or does not have it: streams came with Redis 5, trimming by age with 6.2, wait_disk with 7.2"},
	{"ERR syntax error", config, true, "the server is too old or does not have it: trimming by age came with Redis 6.2"},
	{"ERR The stream has exhausted", config, true, "somebody has added an entry with the highest id to the stream; choose another stream"},
	{"ERR The ID specified in XADD", config, true, "somebody has added an entry with the highest id to the stream; choose another stream"},
	{"ERR DB index is out of range", config, false, "the server has fewer databases; correct db"},
	{"ERR invalid DB index", config, false, "the server has fewer databases; correct db"},
	{"ERR SELECT is not allowed", config, false, "this is a node of a cluster, which is not supported"},
	{"ERR WAITAOF cannot be used", config, true, "the server keeps no append-only file; set its appendonly, or take out wait_disk"},
	{"ERR WAIT", config, true, "this is a replica; set the url to the server that takes writes"},
}

// judge turns what the server said into the error of Send: TooLarge, RetryAfter
// or transient, nil for nil. It is the only place that knows what an error means.
// Redis never looks into a body, so nothing but its size is held against it.
// Wrong passwords and wrong keys wait until somebody has corrected the
// configuration.
func judge(err error) (judged error, keep bool) {
	if err == nil {
		return nil, true
	}
	var refused redis.Error
	if !errors.As(err, &refused) {
		return err, !errors.Is(err, errReply)
	}
	v := verdict{keep: true, hint: "the message will be sent again"}
	for _, known := range verdicts {
		if strings.HasPrefix(string(refused), known.begins) {
			v = known
			break
		}
	}
	said := fmt.Errorf("%s — hint: %s", onelink.Quote(string(refused)), v.hint)
	switch v.class {
	case tooLarge:
		return uplink.TooLarge(said), v.keep
	case config:
		return uplink.Misconfigured(said), v.keep
	case full:
		return uplink.RetryAfter(said, fullDelay), v.keep
	}
	return said, v.keep
}
