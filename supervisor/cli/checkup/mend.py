"""Mends what is safe, and says what it did. The config file is written once, after its backup, or not at all."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from protocol.errors import UserError
from supervisor.cli import seed
from supervisor.cli.checkup.finding import Chmod, MakeFolder, Repair, Rewrite, Seed, Unlink
from supervisor.cli.context import Context


class Mended(msgspec.Struct, frozen=True):
    """What was done, and what could not be, with the reason."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def mend(ctx: Context, repairs: Iterable[Repair]) -> Mended:
    """Carry the repairs out, each for itself. Never raises for a repair that does not work."""
    done: list[str] = []
    failed: list[str] = []
    unique = list(dict.fromkeys(repairs))
    rewrites = [one for one in unique if isinstance(one, Rewrite)]
    for repair in unique:
        if not isinstance(repair, Rewrite):
            _note(done, failed, str(repair), lambda repair=repair: _carry_out(repair))
    if rewrites:
        _note(done, failed, "; ".join(str(one) for one in rewrites), lambda: _rewrite(ctx, rewrites))
    return Mended(tuple(done), tuple(failed))


def _note(done: list[str], failed: list[str], text: str, act: Any) -> None:
    try:
        act()
        done.append(text)
    except UserError as error:
        failed.append(f"{text}: {error.message}")
    except OSError as error:
        failed.append(f"{text}: {error.strerror or error}")


def _carry_out(repair: Repair) -> None:
    match repair:
        case Chmod():
            _restrict(repair.path, repair.mode)
        case MakeFolder():
            repair.path.mkdir(mode=repair.mode, parents=True, exist_ok=True)
        case Seed():
            seed.seed(repair.path)
        case Unlink():
            repair.path.unlink(missing_ok=True)


def _restrict(path: Path, mode: int) -> None:
    """Only takes rights away, and never follows a link that was put there meanwhile."""
    found = path.lstat()
    if not stat.S_ISLNK(found.st_mode):
        path.chmod(stat.S_IMODE(found.st_mode) & mode)


def _rewrite(ctx: Context, rewrites: Iterable[Rewrite]) -> None:
    def mutate(config: dict[str, Any]) -> dict[str, Any]:
        for one in rewrites:
            config = one.mutate(config)
        return config

    ctx.change(mutate, command="doctor --fix")
