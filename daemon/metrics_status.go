package daemon

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
)

// buffer tells of what is on flash; now is in Unix milliseconds.
func (m *metrics) buffer(b dashboard.Buffer, now int64) {
	m.holds("tidegate_buffer_ok", "Whether the buffer takes readings.", b.State == dashboard.OK)
	m.is("tidegate_buffer_readings", "Readings on flash that some sink has not acknowledged.", float64(b.Waiting))
	m.is("tidegate_buffer_bytes", "What these readings take.", float64(b.BytesUsed))
	m.is("tidegate_buffer_max_bytes", "buffer.max_bytes.", float64(b.BytesMax))
	m.is("tidegate_buffer_oldest_age_seconds", "Age of the oldest of these readings; 0 if there is none.", sinceThen(b.OldestUnsent, now))
	m.grows("tidegate_buffer_lost_readings_total", "Readings that were declared lost, for whatever reason.", b.Lost)
	for _, reason := range reasons(b.LostBy) {
		m.grows("tidegate_buffer_dropped_total", "The same by reason; each loss is reported upstream.", b.LostBy[reason], "reason", reason)
	}
	m.is("tidegate_disk_free_bytes", "What is free for the gateway on the file system of data_dir.", float64(b.DiskFree))
	m.is("tidegate_disk_size_bytes", "How large that is.", float64(b.DiskSize))
	m.grows("tidegate_flash_written_bytes_total", "Bytes that commits wrote, in whole pages.", b.FlashWritten)
	m.grows("tidegate_buffer_commits_total", "Commits, each of which is a sync.", b.Commits)
	m.is("tidegate_flash_day_bytes", "Bytes that commits wrote in the last 24 hours, or since the start.", float64(b.FlashDay))
	m.is("tidegate_flash_budget_bytes", "What they may write in a day; 0 is any amount.", float64(b.FlashBudget))
	m.is("tidegate_flash_tokens_bytes", "What they may write at once; below zero they wait.", float64(b.FlashTokens))
	m.holds("tidegate_flash_over_budget", "Whether max_ack_delay wins over the budget.", b.OverBudget)
	m.is("tidegate_quarantine_blocks", "Blocks that a sink refused for good.", float64(b.Refused))
	m.is("tidegate_buffer_info", "1; the profile.", 1, "profile", b.Profile)
}

// sinceThen is the age, in seconds, of what was at then; 0 for never.
func sinceThen(then, now int64) float64 {
	if then == 0 {
		return 0
	}
	return max(0, float64(now-then)/1000)
}

// reasons are all that there are, with or without a loss.
func reasons(by map[string]uint64) []string {
	all := buffer.Reasons()
	for reason := range by {
		if !slices.Contains(all, reason) {
			all = append(all, reason)
		}
	}
	return all
}

// uplink tells of a door out; now is in Unix milliseconds.
func (m *metrics) uplink(l dashboard.Link, now int64) {
	m.holds("tidegate_uplink_up", "0 while the sink cannot be reached, or refuses.", l.State != dashboard.LinkDown, "sink", l.Name, "kind", l.Kind)
	for _, state := range []dashboard.LinkState{dashboard.LinkUp, dashboard.LinkDown, dashboard.LinkIdle, dashboard.LinkHeld} {
		m.holds("tidegate_uplink_state", "1 for the state it is in.", l.State == state, "sink", l.Name, "state", string(state))
	}
	m.at("tidegate_uplink_state_timestamp_seconds", "When that state began, where it is known.", l.Since, "sink", l.Name)
	m.at("tidegate_uplink_last_ack_timestamp_seconds", "When the sink acknowledged last.", l.LastAck, "sink", l.Name)
	m.grows("tidegate_uplink_acked_total", "Readings that the sink acknowledged.", l.Acked, "sink", l.Name)
	m.grows("tidegate_uplink_bytes_total", "Bytes of messages, repeated ones as well, without what the protocols add.", l.SentBytes, "sink", l.Name, "dir", "sent")
	m.grows("tidegate_uplink_messages_total", "Messages that were handed to the sink, repeated ones as well.", l.Messages, "sink", l.Name)
	m.grows("tidegate_uplink_retries_total", "Messages that failed, and were or will be sent again.", l.Retries, "sink", l.Name)
	m.grows("tidegate_uplink_quarantined_readings_total", "Readings that the other side refused for good; they are set aside.", l.SetAside, "sink", l.Name)
	m.is("tidegate_uplink_lag_seconds", "Age of the oldest reading that the sink has not acknowledged; 0 if it has all.", sinceThen(l.Oldest, now), "sink", l.Name)
	m.is("tidegate_uplink_waiting_readings", "Readings that the sink has not acknowledged.", float64(l.Waiting), "sink", l.Name)
	m.is("tidegate_uplink_in_flight_messages", "Messages in the hands of the sink.", float64(l.InFlight), "sink", l.Name)
	m.grows("tidegate_uplink_left_out_total", "Readings that the encoding has no words for.", l.LeftOut, "sink", l.Name)
	m.is("tidegate_uplink_link_info", "1; the link that the sink uses.", 1, "sink", l.Name, "link", l.Over.Carrier)
	m.at("tidegate_uplink_link_timestamp_seconds", "When it began to use that.", l.Over.Since, "sink", l.Name)
	m.is("tidegate_uplink_needed_bytes", "About how many bytes on the wire deliver what waits.", float64(l.Over.Needs), "sink", l.Name)
	m.at("tidegate_uplink_drained_timestamp_seconds", "When that is done, as far as can be told.", l.Over.Drained, "sink", l.Name)
}

// network tells of a way to the network.
func (m *metrics) network(n dashboard.Carrier) {
	m.holds("tidegate_link_ok", "0 while nothing, or not all, may pass.", n.State == dashboard.OK, "link", n.Name)
	for lane := range reading.Lane(reading.Lanes) {
		m.holds("tidegate_link_lane_open", "Whether readings of the lane may pass.", slices.Contains(n.Lanes, lane.String()), "link", n.Name, "lane", lane.String())
	}
	m.is("tidegate_link_connections", "Connections that are open.", float64(n.Connections), "link", n.Name)
	m.grows("tidegate_link_bytes_total", "Bytes on the wire, as an operator counts them.", uint64(n.Sent), "link", n.Name, "dir", "sent")
	m.grows("tidegate_link_bytes_total", "", uint64(n.Received), "link", n.Name, "dir", "received")
	m.holds("tidegate_link_estimated", "1 if part of that could not be counted with the kernel.", n.Estimated, "link", n.Name)
	m.holds("tidegate_link_ledger_ok", "0 while what was counted cannot be saved.", n.Problem == "", "link", n.Name)
	for _, p := range []struct {
		name string
		use  dashboard.Usage
	}{{"day", n.Today}, {"month", n.Month}} {
		labels := []string{"link", n.Name, "period", p.name}
		m.is("tidegate_link_period_bytes", "Bytes on the wire in this day and month.", float64(p.use.Sent), append(labels, "dir", "sent")...)
		m.is("tidegate_link_period_bytes", "", float64(p.use.Received), append(labels, "dir", "received")...)
		m.is("tidegate_link_used_bytes", "The same as the operator rounds it.", float64(p.use.Used), labels...)
		m.is("tidegate_link_budget_bytes", "What may be used; 0 is any amount.", float64(p.use.Budget), labels...)
	}
	m.is("tidegate_link_speed_bytes", "How many bytes a second it takes; 0 while that is not known.", float64(n.Speed), "link", n.Name)
	m.is("tidegate_link_left_bytes", "What the tighter budget still allows.", float64(n.Left), "link", n.Name)
	m.is("tidegate_link_left_of_bytes", "Of how much.", float64(n.Of), "link", n.Name)
	m.at("tidegate_link_renews_timestamp_seconds", "When that budget begins anew.", n.Renews, "link", n.Name)
	m.at("tidegate_link_spent_timestamp_seconds", "When it is spent at the present rate, if before.", n.Lasts, "link", n.Name)
	m.at("tidegate_link_window_timestamp_seconds", "When the schedule opens or closes next.", n.Window, "link", n.Name)
}

// door tells of a door in.
func (m *metrics) door(d dashboard.Door) {
	m.holds("tidegate_ingest_up", "Whether nothing is wrong with the door.", d.State == dashboard.OK, "source", d.Name, "kind", d.Kind)
	m.at("tidegate_ingest_state_timestamp_seconds", "When the door was started, or broke.", d.Since, "source", d.Name)
	m.grows("tidegate_ingest_breaks_total", "How often the door broke and was started again.", d.Breaks, "source", d.Name)
	m.at("tidegate_ingest_broke_timestamp_seconds", "When it broke last.", d.BrokeAt, "source", d.Name)
	m.grows("tidegate_ingest_readings_total", "Readings that were taken.", d.Readings, "source", d.Name)
	m.grows("tidegate_ingest_opaque_total", "Payloads that could not be decoded and were kept as they are.", d.Opaque, "source", d.Name)
	m.is("tidegate_ingest_clients", "Clients that are connected, or slaves that answer.", float64(d.Clients), "source", d.Name)
	for _, e := range []struct {
		kind string
		n    uint64
	}{
		{"rejected", d.Rejected}, {"bad_login", d.BadLogins}, {"denied", d.Denied}, {"turned_away", d.TurnedAway},
		{"malformed", d.Malformed}, {"too_large", d.TooLarge}, {"not_stored", d.NotStored}, {"undelivered", d.Undelivered},
		{"not_retained", d.NotRetained}, {"oversubscribed", d.Oversubscribed}, {"forgotten", d.Forgotten}, {"slowed", d.Slowed},
		{"overflowed", d.Overflowed}, {"repeated", d.Repeated}, {"late_answer", d.LateAnswers}, {"stray_byte", d.StrayBytes}, {"damaged", d.Damaged},
	} {
		m.grows("tidegate_ingest_errors_total", "What should not happen at a door, by kind.", e.n, "source", d.Name, "kind", e.kind)
	}
	if d.Line != nil {
		m.line(d.Name, cmp.Or(d.Address, d.Line.Device), *d.Line)
	}
	for _, s := range d.Slaves {
		m.slave(d.Name, s)
	}
}

// line tells of a serial line.
func (m *metrics) line(source, port string, l dashboard.Line) {
	labels := []string{"source", source, "port", port}
	m.grows("tidegate_serial_frames_total", "Frames that came whole.", l.Frames, labels...)
	m.at("tidegate_serial_last_frame_timestamp_seconds", "When the last one came.", l.LastFrame, labels...)
	m.at("tidegate_serial_trouble_timestamp_seconds", "When the port failed last.", l.TroubleAt, labels...)
	m.is("tidegate_serial_backlog_bytes", "Bytes that wait in memory for the disk.", float64(l.Backlog), labels...)
	m.grows("tidegate_serial_polls_total", "Polls that were sent.", l.Polls, labels...)
	m.grows("tidegate_serial_confirmed_total", "Frames that were acknowledged to the device.", l.Confirmed, labels...)
	for _, e := range []struct {
		kind string
		n    uint64
	}{
		{"parity", l.ParityErrors}, {"frame", l.FrameErrors}, {"overrun", l.Overruns}, {"break", l.Breaks}, {"damaged_byte", l.DamagedBytes},
		{"checksum", l.BadChecksum}, {"broken", l.Broken}, {"too_long", l.TooLong}, {"partial", l.Partial}, {"damaged_frame", l.Damaged},
		{"garbage_byte", l.Garbage}, {"timeout", l.Timeouts}, {"unasked", l.Unasked}, {"gone", l.Gone}, {"abandoned_byte", l.Abandoned},
	} {
		m.grows("tidegate_serial_errors_total", "What should not happen on a serial line, by kind.", e.n, append(labels, "kind", e.kind)...)
	}
}

// slave tells of a device that is polled.
func (m *metrics) slave(source string, s dashboard.Slave) {
	labels := []string{"source", source, "device", s.Device, "unit", decimal(s.Unit)}
	m.holds("tidegate_slave_up", "Whether the slave answers; 0 also before it was asked.", s.State == dashboard.LinkUp, labels...)
	m.at("tidegate_slave_last_answer_timestamp_seconds", "When it answered last.", s.LastAnswer, labels...)
	m.grows("tidegate_slave_polls_total", "Polls that were finished.", s.Polls, labels...)
	m.grows("tidegate_slave_skipped_total", "Polls that had no time on the bus.", s.Skipped, labels...)
	m.grows("tidegate_slave_failed_total", "Requests that brought nothing in the end.", s.Failed, labels...)
	m.is("tidegate_slave_bad_registers", "Registers that are left out, because the slave does not have them.", float64(s.BadRegisters), labels...)
	for _, kind := range slices.Sorted(maps.Keys(s.Errors)) {
		m.grows("tidegate_slave_errors_total", "What went wrong with requests, by kind; a retry may have mended it.", s.Errors[kind], append(labels, "kind", kind)...)
	}
}
