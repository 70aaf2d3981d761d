package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard/api"
)

// holding is a buffer as the operator's commands reach it: through the daemon
// that has it open, or by its files when none has.
type holding interface {
	inventory(ctx context.Context) (buffer.Inventory, error)
	// checkState is what is wrong with state.db.
	checkState(ctx context.Context) error
	purge(ctx context.Context, p buffer.Purge) (buffer.Purged, error)
	forget(ctx context.Context, sink string) error
}

// shelf is the quarantine of a holding.
type shelf interface {
	// block returns the bytes of a block.
	block(ctx context.Context, r buffer.Refused) ([]byte, error)
	retry(ctx context.Context, ids []string) error
	drop(ctx context.Context, ids []string) error
}

// withBlocks fills in the bytes of blocks in quarantine, one after the other. Those
// that have left it meanwhile are left out.
func withBlocks(ctx context.Context, from holding, all []buffer.Refused) (there []buffer.Refused, err error) {
	for _, r := range all {
		if r.Raw, err = from.(shelf).block(ctx, r); err != nil && !strings.Contains(err.Error(), buffer.ErrNotSetAside.Error()) {
			return nil, err
		}
		if err == nil {
			there = append(there, r)
		}
	}
	return there, nil
}

// findHolding finds out whether a daemon runs.
func findHolding(ctx context.Context, cfg Config) (holding, error) {
	socket := cfg.Gateway.SocketPath()
	_, err := askStatus(ctx, socket)
	switch {
	case err == nil:
		return running{socket, bufferConfig(cfg).Dir}, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w — hint: try it with sudo", err)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return stopped{cfg}, nil
	}
	return nil, err
}

// running is a buffer that a daemon has open.
type running struct{ socket, dir string }

func (r running) inventory(ctx context.Context) (inv buffer.Inventory, err error) {
	err = askAdmin(ctx, r.socket, http.MethodGet, "/api/v1/buffer", nil, &inv)
	inv.Dir = r.dir // as this process finds it
	return inv, err
}

// block asks for one at a time: all of them may be as large as the memory that the
// gateway is allowed.
func (r running) block(ctx context.Context, q buffer.Refused) ([]byte, error) {
	var s api.SetAside
	path := "/api/v1/quarantine/" + url.PathEscape(q.Sink) + "/" + q.Lane + "/" + strconv.FormatUint(q.First, 10)
	err := askAdmin(ctx, r.socket, http.MethodGet, path+"?raw=1", nil, &s)
	return s.Raw, err
}

func (r running) checkState(ctx context.Context) error {
	return askAdmin(ctx, r.socket, http.MethodGet, "/api/v1/buffer/state", nil, &struct{}{})
}

func (r running) purge(ctx context.Context, p buffer.Purge) (done buffer.Purged, err error) {
	err = askAdmin(ctx, r.socket, http.MethodPost, "/api/v1/buffer/purge", p, &done)
	return done, err
}

func (r running) forget(ctx context.Context, sink string) error {
	return askAdmin(ctx, r.socket, http.MethodDelete, "/api/v1/buffer/sinks/"+url.PathEscape(sink), nil, &struct{}{})
}

func (r running) retry(ctx context.Context, ids []string) error {
	return askAdmin(ctx, r.socket, http.MethodPost, "/api/v1/quarantine/retry", ids, &struct{}{})
}

func (r running) drop(ctx context.Context, ids []string) error {
	return askAdmin(ctx, r.socket, http.MethodPost, "/api/v1/quarantine/drop", ids, &struct{}{})
}

// stopped is a buffer that nobody has open.
type stopped struct{ cfg Config }

func (s stopped) inventory(ctx context.Context) (buffer.Inventory, error) {
	inv, err := buffer.ReadInventory(ctx, bufferConfig(s.cfg).Dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return inv, fmt.Errorf("there is no buffer in %s — hint: has a gateway ever run with this configuration? See -config", s.cfg.Gateway.DataDir)
	case errors.Is(err, os.ErrPermission):
		return inv, fmt.Errorf("%w — hint: try it with sudo", err)
	case errors.Is(err, buffer.ErrInUse):
		return inv, fmt.Errorf("%w, and does not answer on %s — hint: try again in a moment; is gateway.admin_socket that of the running gateway?", err, s.cfg.Gateway.SocketPath())
	}
	for _, name := range s.cfg.Uplink.names() {
		inv.Configured(name)
	}
	return inv, err
}

// checkState was part of the inventory.
func (s stopped) checkState(context.Context) error { return nil }

func (s stopped) purge(ctx context.Context, p buffer.Purge) (done buffer.Purged, err error) {
	if p.Rehearse {
		inv, err := s.inventory(ctx)
		if err != nil {
			return done, err
		}
		done, err = inv.RehearsePurge(ctx, p)
		return done, api.AdviseSink(err, p.Sink)
	}
	err = s.open(ctx, func(b *buffer.Buffer) error {
		done, err = b.Purge(ctx, p)
		return api.AdviseSink(err, p.Sink)
	})
	return done, err
}

func (s stopped) forget(ctx context.Context, sink string) error {
	return s.open(ctx, func(b *buffer.Buffer) error {
		return api.AdviseSink(b.Forget(sink), sink)
	})
}

// block was part of the inventory.
func (s stopped) block(_ context.Context, q buffer.Refused) ([]byte, error) { return q.Raw, nil }

func (s stopped) retry(ctx context.Context, ids []string) error {
	return s.open(ctx, func(b *buffer.Buffer) error { return api.AdviseRefused(b.RetryRefused(ids)) })
}

func (s stopped) drop(ctx context.Context, ids []string) error {
	return s.open(ctx, func(b *buffer.Buffer) error { return api.AdviseRefused(b.DropRefused(ids)) })
}

// open does something with the buffer and ends it in order.
func (s stopped) open(ctx context.Context, do func(*buffer.Buffer) error) error {
	inv, err := s.inventory(ctx) // which does not make one
	if err != nil {
		return err
	}
	if inv.StateError != "" {
		return fmt.Errorf("state.db: %s — hint: start the gateway, which sets it aside, and try again", inv.StateError)
	}
	b, err := buffer.Open(bufferConfig(s.cfg), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for _, name := range s.cfg.Uplink.names() {
		b.Cursor(name)
	}
	done := do(b)
	ended, cancel := context.WithCancel(ctx)
	cancel() // Run commits what is open, and ends
	return errors.Join(done, b.Run(ended))
}

// names returns the names of all uplinks.
func (u Uplink) names() (names []string) {
	for _, up := range u.all() {
		names = append(names, up.settings().Name)
	}
	return names
}
