// Package linein is the door for devices that open a socket and write: lines,
// length-prefixed or octet-counted frames over TCP, datagrams over UDP, and
// device servers that have to be dialled (a serial-to-Ethernet box). What frames
// are is said by a frame.Config, what they mean by a route.Target.
//
// # What an acknowledgement means
//
// Neither TCP nor UDP tells a device that its reading is on flash: that a write
// succeeded means that a kernel has it. With Config.Reply, a text is sent back
// for each frame, in their order, once its receipt has resolved, and never
// before. A frame that is damaged gets no reply. A frame that cannot be decoded
// gets one, because the same bytes would fail again; it is kept whole, or
// dropped where the target says so, and counted. If readings cannot be stored, a
// TCP connection is closed, and over UDP nothing is sent: the device sends again
// what got no reply.
//
// Without a reply, this door is the only one that has the readings. It holds them
// until they are on flash and gives them to custody again if a commit fails, as
// long as that takes (settle.go); 64 Ki readings are held at the most. While
// custody has no room, nothing more is read: TCP makes the peers wait, and over
// UDP a queue fills. What finds no room there (Stats.Overrun) or in the kernel's
// buffer (Stats.Missed) is counted. Lost all the same, and without a count, is
// what was on its way in a connection that broke, and what a kernel held when
// the power went.
//
// # Connections
//
// A connection is read in one goroutine; another waits for receipts while there
// are any. All frames of a read go to custody in one call. At most 8192 frames of
// a connection are on their way to flash.
//
// A frame that the end of a connection cuts off is counted and not taken: 21 may
// be the first half of 21.5. Where silence ends frames (gap), so does an orderly
// end. A peer that has closed its side for writing still gets its replies.
//
// Several frames with nothing but silence between come as one if nobody could look
// meanwhile, because custody took its time. What may be such is kept whole and not
// decoded (watch.go); with a checksum, that tells.
//
// A connection is closed when a frame takes longer than FrameTimeout, when
// nothing comes for IdleTimeout, when replies are not read for WriteTimeout, and
// when its framing can no longer tell where frames begin (frame.Config.Resyncs):
// the frames before that are taken.
//
// # Datagrams
//
// One goroutine empties the kernel's buffer into a queue of Config.Queue bytes,
// another takes the queue into custody. Frames end with their datagram. With the
// framing gap, a datagram is a frame, and with line each of its lines is, of which
// the last needs no end. Anybody who can send here can also make up whose address
// he sends from, so {peer} over UDP names, and does not prove.
//
// # Memory
//
// An idle connection costs about 11 KiB: one goroutine and a kilobyte to read into.
// Those that have more to say borrow 64 KiB, of which there are eight. Between
// read and custody there are never more than 512 KiB, of all connections.
package linein
