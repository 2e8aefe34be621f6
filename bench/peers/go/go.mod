module crosshall/bench

go 1.21
