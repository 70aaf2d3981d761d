package listening

import "context"

// Until closes what listens when ctx ends. The function that it returns takes that back,
// or waits until it is done: whoever accepts learns that it is closed a moment before the
// place is free, and who listens there next would find it taken.
func Until(ctx context.Context, closing func()) (release func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		closing()
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
		}
	}
}
