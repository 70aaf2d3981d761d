module example.org/hasty

go 1.26
