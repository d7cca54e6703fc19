"""What a command starts from: the environment, the paths, the configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from protocol.paths import Paths
from supervisor.cli import output
from supervisor.config.load import Loaded, load
from supervisor.config.write import Mutate, Written, change


class Context(msgspec.Struct, frozen=True):
    """The gateway a command is about."""

    paths: Paths
    environ: Mapping[str, str]

    def load(self) -> Loaded:
        """The configuration; its warnings go to stderr. Raises ConfigInvalid."""
        loaded = load(self.paths, self.environ)
        for warning in loaded.warnings:
            output.say(f"Config ({self.paths.shorten(self.paths.config)}): {warning}")
        return loaded

    def change(self, mutate: Mutate, *, command: str, dry_run: bool = False, as_written: bool = False) -> Written:
        """Change the config file and tell on stderr what was overwritten."""
        written = change(self.paths, self.environ, mutate, command=command, dry_run=dry_run, as_written=as_written)
        if written.backup is not None:
            hashes = f"sha256 {written.old_hash} -> {written.new_hash}"
            output.say(f"Config overwrite: {written.path} ({hashes}, backup={written.backup})")
        return written

    def short(self, path: object) -> str:
        """A path for people."""
        return self.paths.shorten(str(path))

    @property
    def config_name(self) -> str:
        return self.short(self.paths.config)

    def updated(self) -> str:
        """The first line of every command that changed the file."""
        return f"Updated {self.config_name}"


def current() -> Context:
    """Built from the process environment, which `main` has adjusted for `--profile` and `--dev`."""
    return Context(Paths.from_environ(os.environ), dict(os.environ))
