"""Measurements. `make bench K=…` prints `ratio NAME VALUE` (ours ÷ peer in rate) and `rate NAME VALUE UNIT`."""
