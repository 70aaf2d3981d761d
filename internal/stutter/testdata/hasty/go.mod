module example.org/hasty

go 1.26

require example.org/idle v0.0.0

replace example.org/idle => ../idle
