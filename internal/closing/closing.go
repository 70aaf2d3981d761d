// Package closing ends what a context has opened, and says when that is done.
package closing

import "context"

// Until closes something when ctx ends. The function that it returns, which is called
// once, takes that back, or waits until it is done: whoever reads or accepts learns that
// it is closed a moment before the place is free, and who opens it next would find it taken.
func Until(ctx context.Context, end func()) (release func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		end()
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
		}
	}
}
