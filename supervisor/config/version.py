"""Which version this is. A test keeps it equal to pyproject.toml: asking the installed metadata costs 20 ms."""

VERSION = "0.1.0"
