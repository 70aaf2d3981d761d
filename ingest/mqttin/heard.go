package mqttin

// While a client subscribes, its session keeps the topics of the retained messages
// that it is sent. What was retained on them before is older, or the same, and is
// not sent after them.

// listen begins to note what is heard.
func (s *session) listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = make(map[string]struct{})
}

// hear notes who was sent a message that is retained now.
func hear(m *message, copies []delivery) {
	for _, d := range copies {
		d.session.hear(m.topic)
	}
}

func (s *session) hear(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard != nil {
		s.heard[topic] = struct{}{}
	}
}

// hasHeard says whether such a message was sent since listen.
func (s *session) hasHeard(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, heard := s.heard[topic]
	return heard
}

// unlisten notes nothing any more.
func (s *session) unlisten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = nil
}
