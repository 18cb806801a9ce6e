"""Recordings to small plain data, one idea a file. Knows no file format and no picture."""
