// Package refine is what happens to readings between decode and custody, by
// configuration: they are renamed, scaled, checked, watched for alarms, and those
// that say nothing new are left out.
//
// A Chain is a list of steps for one door or route. Every step has a pattern; a
// reading goes through the steps that match it, in their order, each of which
// sees the name that the one before gave it. What a step does, it does in this
// order: drop, scale and offset, rename, unit, range, lane. When a reading has
// been through, its alarm is judged, and at last it is filtered: both on the
// value that would be stored, and both by the last matching step that says how,
// so that a step for "*" sets what a later one for "temp" replaces.
//
// # Filters
//
// A reading is filtered, which means left out and counted, when it differs from
// the last one that was kept by no more than the deadband, or when it comes
// sooner than the minimal interval after it. It is kept all the same
//
//   - when it is the first of its series,
//   - when its quality differs from that of the one kept last (deadband only),
//   - when the heartbeat's time has passed since then,
//   - when it raises or clears an alarm,
//   - when it is late, see below,
//   - when it is opaque: bytes that nobody could decode are evidence.
//
// Differences are decimal: from 21.5 to 21.6 is 0.1 and not a bit more, so a
// deadband of 0.1 always holds such steps back. Booleans and texts have no
// distance; a deadband leaves out those that are equal. A text is compared by a
// hash of 64 bits. Not-a-numbers are equal to each other.
//
// # Alarms
//
// An alarm is above, below or equal, and otherwise normal. The reading that
// raises or clears it goes into lane Alarm, together with a further reading of
// the same time, METRIC.alarm, whose text is the new state. With a delay, the
// condition must have held in every reading for that time, judged on their own
// times; without further readings nothing happens. Clearing has no delay, only
// hysteresis. Readings of bad quality and those that are no numbers are not
// judged by thresholds. The first reading of a series that is judged says
// "normal" if it is: whoever was told of an alarm before a restart learns that
// it is over.
//
// # Time
//
// Readings are judged by their own times; those that have none, by that of their
// arrival. A reading is late if it is flagged as historical or is older than the
// last one that was kept. Late readings are what a device had stored: they are
// never left out and change nothing, so that the filters and the alarms go on
// where they were. (One that is older than the newest that was seen, but not
// than the one kept last, is filtered as usual and judges no alarm.)
//
// Clocks jump, and that must neither silence a series nor flood the buffer:
//
//   - Forward, as from 1970 to 2026: every interval has passed, so the next
//     reading is kept, once, and an alarm's delay counts as over.
//   - Back: all readings are late from then on. If they have been older than the
//     newest one for a minute of the gateway's clock, and have gone forward no
//     faster than twice that clock, as stored ones would, the device's clock was
//     set back: the filter begins anew with the reading that shows it. Until
//     then, for a minute, everything passes.
//   - Standing still: for a reading with the very time of the one before it, the
//     gateway's clock counts.
//
// # Why no acknowledged reading is lost
//
// A filtered reading was acknowledged and is nowhere on flash. It is not lost in
// the sense of the promise: its owner's configuration says that the one kept
// before stands for it, within the deadband. (Drop, ranges and intervals are
// stronger words, and say so: everything filtered is counted by its reason.) What
// must hold is that the one kept before is there:
//
//   - A commit fails. Nobody knows then which kept readings are stored, so Forget
//     must be called, and what was refined before that and is not with custody yet
//     must not be acknowledged: the next reading of every series is kept, and
//     alarms are raised, or called normal, again.
//   - The gateway dies before the commit. The kept reading was not acknowledged,
//     so its device sends it again. But what leant on it must not have been
//     acknowledged either: think of a device whose connection ends while its
//     reading waits for the commit. It connects anew and sends the reading again,
//     which is left out now, as a repeat of itself. So the acknowledgement of
//     whatever came through a chain waits for everything that is on its way at
//     its door, and is not given if any of that fails. State begins empty after a
//     restart.
//   - At least once: what is sent again is refined again. Repeats of kept
//     readings are within the deadband of themselves, and are filtered; if the
//     kept one was not stored, Forget has been called, and they are kept. Repeats
//     that are older than the one kept last, or than the newest one before
//     Forget, are late: kept, twice perhaps, never leant on. After a restart,
//     what is sent again may be judged by another reading than in the life
//     before; who looks at both then is wrong by up to two deadbands, until the
//     next reading that is kept.
//   - The buffer evicts the kept reading later. That is a gap, which is declared;
//     what leant on it is within it.
//
// A reading is on its way from the moment that Refine sees it, if its door uses a
// passage of the intake, as all do. What remains is QoS 0: such a reading, which
// nobody sends again, is stored, and others before it, of QoS 1, are sent again
// after a restart and leant on. The series is wrong by more than the deadband after
// that until its next reading is kept, for a heartbeat at the most.
//
// # Bounds
//
// A chain remembers Config.MaxSeries series. Those beyond it are changed like
// others, but neither filtered nor judged, and counted; a series that was not
// seen for very many readings makes room for a new one. What a chain does is a
// function of the readings, and times, that it was given.
package refine
