package mqttout

import "time"

// retire says goodbye, with a publication if that is not nil. An unforced one
// waits for its time: while something is under way, it does nothing.
func (l *link) retire(goodbye *publication, forced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.retired || !forced && len(l.slots) > 0 {
		return
	}
	l.retired = true
	if goodbye != nil {
		l.push(outgoing{head: goodbye.appendHead(nil, wireForm{level: l.terms.level}), payload: goodbye.payload})
	}
	l.push(outgoing{head: appendDisconnect(nil, l.terms.level, l.terms.session && len(l.kept) == 0), last: true})
}

// leave ends the link, politely if that is soon done.
func (l *link) leave(goodbye *publication) {
	l.raw.SetWriteDeadline(time.Now().Add(linger))
	l.retire(goodbye, true)
	l.tasks.Wait()
}
