package daemon

// exampleSerial is the serial line of the example.
func exampleSerial() Serial {
	var s Serial
	s.SetDefaults()
	s.Name, s.Port = "boiler", "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
	var p SerialPoll
	p.SetDefaults()
	p.Request = []byte("T?\r\n")
	s.Polls = []SerialPoll{p}
	return s
}
