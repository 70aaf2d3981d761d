package firmwaresim

import (
	"errors"
	"time"
)

// ledgerFlush is the longest time that an acknowledgement is not in the
// ledger's file.
const ledgerFlush = 100 * time.Millisecond

// keep flushes the ledger, if there is one, until done.
func (l *Ledger) keep(done <-chan struct{}) error {
	if l == nil {
		<-done
		return nil
	}
	tick := time.NewTicker(ledgerFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.Flush(); err != nil {
				return err
			}
		case <-done:
			return nil
		}
	}
}

// during flushes the ledger while run runs. A ledger that cannot be written
// stops it: what is not written down was in vain.
func (l *Ledger) during(stop func(), run func() error) error {
	done := make(chan struct{})
	var result error
	go func() {
		defer close(done)
		result = run()
	}()
	err := l.keep(done)
	if err != nil {
		stop()
	}
	<-done
	if l != nil {
		err = errors.Join(err, l.Flush())
	}
	return errors.Join(result, err)
}

// account returns the account of a device; one that nobody reads if there is no
// ledger.
func (l *Ledger) account(device string) *Account {
	if l == nil {
		return NewLedger().Account(device)
	}
	return l.Account(device)
}
