"""Load tests of WebSocket servers; needs hdrhistogram, of the extra `cli`."""
