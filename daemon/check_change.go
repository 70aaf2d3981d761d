package daemon

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/serialport"
)

// quickly is how long a look at a change may take that somebody waits for.
const quickly = 8 * time.Second

// checkChange is Check for what next has and old does not.
func checkChange(ctx context.Context, old, next Config) []Finding {
	ctx, cancel := context.WithTimeout(ctx, quickly)
	defer cancel()
	k, now, socket := &checklist{}, time.Now(), next.Gateway.SocketPath()
	is := func(before, after any) bool { return !reflect.DeepEqual(before, after) }
	was, in := old.Ingest, next.Ingest
	if m := in.MQTT; is(was.MQTT, m) {
		k.listener("ingest.mqtt", m.Listen, socket)
		if m.PlainListen != "" {
			k.listener("ingest.mqtt (plain)", m.PlainListen, socket)
		}
		k.access(m)
	}
	if is(old.wantedClients(), next.wantedClients()) {
		k.clients(next)
	}
	if is(was.HTTP, in.HTTP) {
		k.http(in.HTTP, socket)
	}
	if is(was.CoAP, in.CoAP) {
		k.coap(in.CoAP, next.Buffer.AckDelay(), socket)
	}
	fresh := next
	fresh.Ingest, fresh.Uplink, fresh.Command = onlyNew(in, was), onlyNew(next.Uplink, old.Uplink), onlyNew(next.Command, old.Command)
	if len(fresh.Ingest.Modbus) > 0 {
		k.modbus(ctx, fresh)
	}
	k.serial(fresh.lines(), socket, serialport.Host{})
	k.lineDoors(ctx, fresh.Ingest.Line, next.Gateway)
	known := old.certificates()
	k.certificates(slices.DeleteFunc(next.certificates(), func(c certificate) bool { return slices.Contains(known, c) }), now)
	if is(old.Refine, next.Refine) {
		k.refinements(next)
	}
	if is(old.Link, next.Link) {
		k.links(next, peekNetwork(next, slog.New(slog.DiscardHandler)), now)
	}
	if len(fresh.Uplink.all()) > 0 || len(next.Uplink.all()) == 0 && len(old.Uplink.all()) > 0 {
		k.uplinks(ctx, fresh)
	}
	if len(fresh.Command.all()) > 0 {
		k.commands(ctx, fresh)
	}
	return k.findings
}

// onlyNew returns next with only those tables in its lists that old does not have.
func onlyNew[T any](next, old T) T {
	dropKnown(reflect.ValueOf(&next).Elem(), reflect.ValueOf(old))
	return next
}

func dropKnown(to, from reflect.Value) {
	for i := range to.NumField() {
		list := to.Field(i)
		if list.Kind() != reflect.Slice || list.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		fresh := reflect.MakeSlice(list.Type(), 0, list.Len())
		for n := range list.Len() {
			if !contains(from.Field(i), list.Index(n)) {
				fresh = reflect.Append(fresh, list.Index(n))
			}
		}
		list.Set(fresh)
	}
}

func contains(list, element reflect.Value) bool {
	for n := range list.Len() {
		if reflect.DeepEqual(list.Index(n).Interface(), element.Interface()) {
			return true
		}
	}
	return false
}

// failed notes an error with its hint.
func (k *checklist) failed(err error) {
	what, hint := netcheck.Cut(err)
	k.fail(hint, "%s", what)
}
