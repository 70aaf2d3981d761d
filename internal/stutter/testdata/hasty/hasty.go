// Package hasty has one promise: what it is given is done in the end.
package hasty

import "example.org/idle"

// Do does nothing, beside whoever asks for it, and says when it has.
func Do() <-chan bool {
	done := make(chan bool)
	go func() {
	loop:
		for n := range 3 {
			switch n {
			case 2:
				break loop
			}
		}
		if idle.Do() {
			close(done)
		}
	}()
	return done
}
