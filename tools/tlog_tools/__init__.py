"""The commands `tlog` and `tlog-verify`: arguments in, one call of the library, output."""
