package fileout

import "time"

// maxGroup bounds the bytes that share a sync; a larger message has its own.
const maxGroup = 8 << 20

// enqueue adds a message to those that the next sync is for. Where nobody works, a
// goroutine begins, which ends when there is nothing left to do.
func (s *Sink) enqueue(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.queue = append(s.queue, j)
	s.wake()
	return nil
}

// wake needs mu.
func (s *Sink) wake() {
	if !s.working {
		s.working = true
		s.tasks.Go(s.work)
	}
}

// forget takes out a message whose sender has gone. One that is being written
// already is written.
func (s *Sink) forget(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.queue {
		if other == j {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return
		}
	}
}

// work writes group after group: alone a message is synced at once, in a crowd one
// sync is for all that came during the last.
func (s *Sink) work() {
	for {
		group, overdue, more := s.next()
		if !more {
			return
		}
		if overdue && s.file != nil {
			// An error leaves the file as it is: the next message finds it.
			_ = s.finish(*s.file)
		}
		if len(group) == 0 {
			continue
		}
		err := s.commit(group)
		for _, j := range group {
			j.done <- err
		}
	}
}

// next returns messages of one kind, and whether the open file is too old.
func (s *Sink) next() (group []*job, overdue, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	overdue, s.overdue = s.overdue, false
	size := 0
	for _, j := range s.queue {
		size += len(j.message.Body)
		if len(group) > 0 && (size > maxGroup || j.kind != group[0].kind) {
			break
		}
		group = append(group, j)
	}
	left := s.queue[len(group):]
	s.queue = append(s.queue[:0], left...)
	s.working = len(group) > 0 || overdue
	return group, overdue, s.working
}

// expire has the open file finished at an age, although nothing more may come.
func (s *Sink) expire(f *file) {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.expiry = time.AfterFunc(max(0, s.cfg.MaxAge-f.age()), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.overdue = true
			s.wake()
		}
	})
}
