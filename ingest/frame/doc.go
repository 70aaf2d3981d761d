// Package frame finds frames in a stream of bytes: in what a serial line, a TCP
// connection or a radio delivers in pieces of any size. It is pure: it has no
// clock and reads nothing itself.
//
//	s, err := frame.New(frame.Config{Kind: frame.Line})
//	for {
//		n, err := port.Read(b)
//		s.Write(b[:n])
//		for f, ok := s.Next(); ok; f, ok = s.Next() {
//			// f is a frame, until the next Write
//		}
//	}
//
// Config.Append writes what a Scanner of the same Config reads.
//
// # What comes out
//
// A frame comes out without what marks its ends and without its checksum, and
// never when its checksum is wrong. Empty frames are none: they are often sent to
// say that somebody is still there. Everything that does not come out is counted
// in Stats.
//
// # What noise costs
//
// Noise here is bytes that were added, lost or changed on the way. Where it hits a
// frame, that frame is lost. What else is lost depends on the kind, and that
// noise does not pass for a frame on the checksum: without one, what a kind takes
// for a frame comes out.
//
//	line       Noise between two frames belongs to the second, which is lost; but
//	           sentences of NMEA 0183 begin with $ or !, so nothing else is.
//	slip       The same as for lines, and nothing else is lost if senders begin
//	hdlc       frames with a delimiter, too, as Append does.
//	cobs       The same as for lines.
//	stx-etx    Nothing else, unless noise looks like a beginning or ends with an
//	           escape; then the next frame.
//	gap        The frame that it touches without a silence between.
//	length     With a checksum, nothing else; but noise that looks like a
//	fixed      beginning may delay frames until as many bytes have come as it
//	           seems to say, or until Idle with Config.DropHalf. With Sync or
//	           Trailer only, frames are found again sooner or later. With none of
//	           the three, what follows is wrong until Reset, or Idle with
//	           Config.DropHalf: see Config.Resyncs. Once a length is seen that
//	           cannot be, nothing comes out until then.
//	octet-     Everything up to the next line that begins with a number, which may
//	counting   be in the middle of a message. It is for connections without noise.
//
// A frame of kind length or fixed that fails is looked at again from the byte
// after its first, because the true frame may begin there. However long frames
// may be, that costs a bounded amount of work for each byte (running.go).
//
// # Bounds
//
// A Scanner holds what has come of one frame, and takes twice as much memory as
// that and the longest write. After noise, kinds that look at it again take four
// bytes more for each of these, once frames are longer than 256 bytes. In steady
// state, nothing is allocated.
package frame
