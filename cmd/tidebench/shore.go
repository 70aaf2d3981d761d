package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// shore is a gateway and a cloud with a link between them.
type shore struct {
	dir     string
	gateway *gateway
	link    *firmwaresim.Link
	cloud   string         // host:port
	closers []func() error // to be called last to first
}

// openShore starts a cloud, a link that is cut, and a gateway of a size. The cloud has a
// process of its own, unless its deliveries are to be looked at.
func (b *bench) openShore(ctx context.Context, buffer string, is build, received func(cloud.Delivery)) (_ *shore, err error) {
	s := &shore{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	dir, remove, err := b.folder("shore")
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, remove)
	if err := s.openCloud(ctx, b, dir, received); err != nil {
		return nil, err
	}
	if s.link, err = firmwaresim.OpenLink("127.0.0.1:0", s.cloud); err != nil {
		return nil, err
	}
	s.link.Cut()
	s.closers = append(s.closers, background(s.link.Run))
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.dir = dir
	if err = s.startGateway(ctx, b, addr, buffer, is); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { return s.gateway.stop() })
	return s, nil
}

// startGateway starts a gateway, on the journal of the last one if there was one.
func (s *shore) startGateway(ctx context.Context, b *bench, addr, buffer string, is build) (err error) {
	s.gateway, err = b.startGatewayAt(ctx, addr, s.dir, buffer, "http://"+s.link.Addr()+"/v1/ingest", is)
	return err
}

func (s *shore) openCloud(ctx context.Context, b *bench, dir string, received func(cloud.Delivery)) error {
	if received == nil {
		addr, err := freeAddress()
		if err != nil {
			return err
		}
		c, err := b.start(ctx, "cloud", addr, dir)
		if err != nil {
			return err
		}
		s.cloud, s.closers = addr, append(s.closers, c.stop)
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.cloud = listener.Addr().String()
	s.closers = append(s.closers, background(func(ctx context.Context) error {
		return receive(ctx, listener, filepath.Join(dir, "cloud"), received)
	}))
	return nil
}

func (s *shore) close() error {
	var err error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		err = errors.Join(err, s.closers[last]())
		s.closers = s.closers[:last]
	}
	return err
}

// stored asks the cloud how many different readings it has.
func (s *shore) stored() (uint64, error) {
	resp, err := http.Get("http://" + s.cloud + "/v1/ledger")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var ledger struct{ Lanes []cloud.LaneLedger }
	if err := json.NewDecoder(resp.Body).Decode(&ledger); err != nil {
		return 0, fmt.Errorf("ledger of the cloud: %w", err)
	}
	n := uint64(0)
	for _, lane := range ledger.Lanes {
		n += lane.Readings
	}
	return n, nil
}

// background runs f until the function returned is called.
func background(f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}
