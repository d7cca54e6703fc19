"""`openclaw`: finds the noun, loads only that noun's module, and turns every outcome into text and an exit code.

0 done, 1 the operator's input, 2 our fault, 78 a configuration that must not be started.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from protocol.errors import OpenClawError, UserError
from protocol.paths import Paths
from supervisor.cli import options, output
from supervisor.config.problems import ConfigInvalid
from supervisor.config.version import VERSION
from supervisor.config.walk import suggest

#: Noun, module, one line of help.
NOUNS = {
    "agent": ("agent", "Run one agent turn through the gateway"),
    "agents": ("agents", "Manage isolated agents, their workspaces and bindings *"),
    "approvals": ("approvals", "Decide which commands agents may run by themselves *"),
    "channels": ("channels", "Manage chat channels and accounts *"),
    "config": ("config", "Read, change and check the configuration *"),
    "dashboard": ("dashboard", "Print the address of the control page"),
    "doctor": ("doctor", "Find what is wrong and mend what is safe"),
    "gateway": ("gateway", "Run, start, stop and restart the gateway *"),
    "health": ("status", "Ask the running gateway for its health"),
    "logs": ("logs", "Show the gateway's log"),
    "pairing": ("pairing", "List and approve people who want to talk to an agent *"),
    "routes": ("routes", "Explain, check and compare who gets which messages *"),
    "sandbox": ("sandbox", "List, explain and recreate sandboxes, build their image *"),
    "status": ("status", "Show agents, channels and processes at a glance"),
}
#: Commands of the original that this build does not have.
MISSING = (
    *("acp", "backup", "browser", "completion", "configure", "cron", "daemon", "devices", "directory"),
    *("dns", "docs", "hooks", "memory", "message", "mcp", "models", "node", "nodes", "onboard", "plugins"),
    *("qr", "reset", "secrets", "security", "sessions", "setup", "skills", "system", "tasks", "tui"),
    *("uninstall", "update", "voicecall", "webhooks"),
)
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; gives the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = False
    try:
        chosen, rest = options.split(arguments, os.environ)
        debug = chosen.log_level in ("debug", "trace")
        os.environ.update(chosen.environ)
        return _dispatch(rest)
    except ConfigInvalid as error:
        return _invalid(error)
    except UserError as error:
        return output.fail(error)
    except OpenClawError as error:
        output.say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _unexpected(error, debug)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        output.data(_help())
        return 0
    noun = arguments[0]
    if noun in ("-V", "--version"):
        output.data(f"OpenClaw {VERSION}")
        return 0
    if noun.startswith("-"):
        raise UserError(f"unknown option '{noun}'", hint="openclaw --help")
    if noun in NOUNS:
        return _run(noun, arguments[1:])
    if noun in MISSING:
        raise UserError(f"'{noun}' is not implemented in this build", hint="openclaw --help")
    raise UserError(f"unknown command '{noun}'", hint=suggest(noun, list(NOUNS)) or "openclaw --help")


def _run(noun: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"supervisor.cli.{NOUNS[noun][0]}")
    from typer.main import get_command  # a third of the start time: not for --version and --help

    command = get_command(module.APPS[noun])
    try:
        result = command.main(args=arguments, prog_name=f"openclaw {noun}", standalone_mode=False)
    except (OpenClawError, KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            output.data(str(error))
            return 0
        raise _usage(error) from error
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _usage(error: Exception) -> Exception:
    """What the option parser has to say, in our form; its own classes moved between releases, so by what they have."""
    if type(error).__name__ == "Abort":
        return UserError("aborted")
    describe = getattr(error, "format_message", None)
    if describe is None:
        return error
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "openclaw"
    if type(error).__name__ == "NoSuchOption":
        text = f"unknown option '{getattr(error, 'option_name', '')}'"
    else:
        text = str(describe()).rstrip(".")
    return UserError(text[:1].lower() + text[1:], hint=f"{path} --help")


def _invalid(error: ConfigInvalid) -> int:
    """SPEC 2.9, any command that needs a good configuration."""
    paths = Paths.from_environ(os.environ)
    heading = f"Config invalid\nFile: {paths.shorten(error.file)}\nProblem:"
    return output.invalid(error, paths, heading=heading, bullet="  -", closing="Run: openclaw doctor --fix")


def _unexpected(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    output.say(f"error: unexpected {type(error).__name__}: {str(error)[:300]}")
    if not debug:
        command = Path(sys.argv[0]).name or "openclaw"
        output.say(f"hint: {command} --log-level debug {' '.join(sys.argv[1:2])} … shows where; please report it")
    return 2


def _help() -> str:
    wide = max(map(len, NOUNS))
    listed = "\n".join(f"  {noun:<{wide}}  {text}" for noun, (_, text) in sorted(NOUNS.items()))
    return f"""\
OpenClaw {VERSION}: one gateway, many isolated agents

Usage: openclaw [options] [command]

Options:
  --profile <name>     Use the state of a profile (~/.openclaw-<name>)
  --dev                Profile dev, gateway port 19001
  --log-level <level>  silent, fatal, error, warn, info, debug or trace
  --no-color           No colours
  -V, --version        Print the version
  -h, --help           Print help, also after a command

Commands (* has sub-commands):
{listed}

Examples:
  openclaw gateway run                                      Start the gateway in the foreground
  openclaw agents add work                                  Add an agent
  openclaw channels login --channel telegram --account work
  openclaw agents bind --agent work --bind telegram:work
  openclaw agents list --bindings"""


if __name__ == "__main__":
    sys.exit(main())
