package frame

// Stats counts since a Scanner was made.
type Stats struct {
	// Frames came out.
	Frames uint64
	// BadChecksum frames did not pass their check; Broken ones were not coded
	// as they should be (escapes, counts); TooLong ones had more than MaxFrame
	// bytes; Partial ones were cut off by silence or a reset. None came out.
	// Without delimiters it is not known how many frames noise was, and what
	// was lost is counted once until a frame is found again.
	BadChecksum, Broken, TooLong, Partial uint64
	// Garbage is the bytes that were thrown away, those of all these frames
	// and of noise between frames. Delimiters and empty frames are none.
	Garbage uint64
}

// Damage returns how many frames are known to have been lost.
func (s Stats) Damage() uint64 { return s.BadChecksum + s.Broken + s.TooLong + s.Partial }

// Scanner finds frames in a stream of bytes. It is not safe for concurrent use.
type Scanner struct {
	framing framing
	// silence says that Idle means something.
	silence bool
	stats   Stats

	buf []byte // what is not looked at is buf[begin:]
	// begin is where the next frame begins, or the rest of what is skipped.
	begin int
	// idle are the places in buf at which the line was silent.
	idle []int
	// roomy counts the writes in a row that needed little of buf.
	roomy int
}

// framing finds the first frame of a window of the stream. It may keep what it
// knows of the window's beginning until that moves, and change what it cuts.
type framing interface {
	// cut looks at window, which is not empty. silent says that the line was
	// silent behind it.
	cut(window []byte, silent bool) cut
	// reset forgets what has begun.
	reset()
}

// cut is what a framing found at the beginning of a window.
type cut struct {
	fate fate
	// size is how many bytes of the window are done with, garbage how many of
	// them are thrown away.
	size, garbage int
	// frame is the payload, for the fate whole.
	frame []byte
}

// fate is what became of the beginning of a window.
type fate uint8

const (
	more    fate = iota // than the window is needed
	whole               // a good frame
	filling             // delimiters and the like, or noise
	badSum
	broken
	tooLong
	partial
)

// New returns a Scanner; its error is that of Config.Check.
func New(c Config) (*Scanner, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	return &Scanner{framing: c.framing(), silence: c.DropHalf || c.Kind == Gap}, nil
}

func (c Config) framing() framing {
	switch c.Kind {
	case Length, Fixed:
		return newCounted(c)
	case STXETX:
		return newEnveloped(c)
	case Gap:
		return newGapped(c)
	case Octets:
		return newOctets(c)
	}
	return newDelimited(c)
}

// Write feeds bytes, which are copied. Whoever calls Next until it returns false
// before each Write makes the Scanner keep no more than twice the longest frame
// and the longest write.
func (s *Scanner) Write(p []byte) {
	if s.begin == len(s.buf) && s.begin > 0 {
		s.advance(s.begin)
	}
	s.reserve(len(p))
	s.buf = append(s.buf, p...)
}

const (
	leastBuffer = 256
	// spare is the size of a buffer that is worth giving back, and patience how
	// many writes in a row must have had room in an eighth of it.
	spare    = 4 << 10
	patience = 64
)

// reserve makes room for n bytes more.
func (s *Scanner) reserve(n int) {
	kept := len(s.buf) - s.begin
	if s.roomy++; cap(s.buf) <= spare || 8*(kept+n) > cap(s.buf) {
		s.roomy = 0
	}
	switch need := kept + n; {
	case s.roomy == patience:
		s.move(make([]byte, 0, max(2*need, leastBuffer)))
	case len(s.buf)+n <= cap(s.buf):
	case 2*need <= cap(s.buf): // so that moving costs no more than writing did
		s.move(s.buf)
	default:
		s.move(make([]byte, 0, max(2*need, leastBuffer)))
	}
}

// move copies what is not looked at to the beginning of a buffer.
func (s *Scanner) move(to []byte) {
	rest := s.buf[s.begin:]
	s.advance(s.begin)
	s.buf = append(to[:0], rest...)
}

// advance takes n off all places in buf; what was there is gone.
func (s *Scanner) advance(n int) {
	s.begin -= n
	for i := range s.idle {
		s.idle[i] -= n
	}
	if s.begin == 0 && n == len(s.buf) {
		s.buf = s.buf[:0]
	}
}

// Next returns the next good frame, without what marks its ends and without its
// checksum, or false if more has to be written first. The frame is never empty,
// is valid until the next Write, and may be changed.
func (s *Scanner) Next() (frame []byte, ok bool) {
	for {
		window, silent := s.window()
		if len(window) == 0 && !silent {
			return nil, false
		}
		var c cut
		if len(window) > 0 {
			c = s.framing.cut(window, silent)
		}
		if c.fate == more {
			if !silent {
				return nil, false
			}
			c = s.cutOff(window)
		}
		s.begin += c.size
		s.count(c)
		if c.fate == whole {
			return c.frame, true
		}
	}
}

// window returns what is to be looked at now, and whether the line was silent
// behind it.
func (s *Scanner) window() (window []byte, silent bool) {
	if len(s.idle) > 0 {
		return s.buf[s.begin:s.idle[0]], true
	}
	return s.buf[s.begin:], false
}

// cutOff ends what has begun before a silence.
func (s *Scanner) cutOff(window []byte) cut {
	s.framing.reset()
	s.idle = s.idle[:copy(s.idle, s.idle[1:])]
	if len(window) == 0 {
		return cut{fate: filling}
	}
	return cut{fate: partial, size: len(window), garbage: len(window)}
}

func (s *Scanner) count(c cut) {
	s.stats.Garbage += uint64(c.garbage)
	switch c.fate {
	case whole:
		s.stats.Frames++
	case badSum:
		s.stats.BadChecksum++
	case broken:
		s.stats.Broken++
	case tooLong:
		s.stats.TooLong++
	case partial:
		s.stats.Partial++
	}
}

// Idle tells that the line was silent after what was written. It ends the frame
// of a Gap framing. With Config.DropHalf, a frame that is not complete by now
// never will be: it is counted as Partial, and what comes next begins anew.
// Otherwise it does nothing.
func (s *Scanner) Idle() {
	if s.silence && (len(s.idle) == 0 || s.idle[len(s.idle)-1] < len(s.buf)) {
		s.idle = append(s.idle, len(s.buf))
	}
}

// Reset forgets what has begun, for a stream that begins anew. Frames that are
// whole must have been taken with Next; a half one is counted as Partial.
func (s *Scanner) Reset() {
	if rest := len(s.buf) - s.begin; rest > 0 {
		s.count(cut{fate: partial, garbage: rest})
	}
	s.begin, s.buf, s.idle = 0, s.buf[:0], s.idle[:0]
	s.framing.reset()
}

// Buffered returns how many bytes wait for more; after Next has returned false,
// those of a frame that has begun.
func (s *Scanner) Buffered() int { return len(s.buf) - s.begin }

// Stats returns the counts so far.
func (s *Scanner) Stats() Stats { return s.stats }
