"""The command line: one noun per file. Everything live goes through the control socket."""
