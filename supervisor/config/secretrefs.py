"""Secrets kept elsewhere: `{source: "env"|"file"|"exec", provider, id}` becomes its value (SPEC 1.5).

Messages name the place, never the value.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.config import SecretRef
from protocol.paths import Paths
from supervisor.config.parse import has_variable, read_bytes

_PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_ENV_ID = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
_EXEC_ID = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}")
_DEFAULT_TIMEOUT_MS = 5000
_MAX_TIMEOUT_MS = 30_000
_MAX_OUTPUT = 1024 * 1024


class SecretMissing(Exception):
    """A secret has no value now. The text tells why, for the operator, without the secret."""


def is_ref(value: Any) -> bool:
    """Whether a value of the file is a reference and not an object of another kind."""
    return (
        isinstance(value, dict)
        and value.get("source") in ("env", "file", "exec")
        and isinstance(value.get("id"), str)
        and value.keys() <= {"source", "id", "provider"}
    )


def check(ref: Mapping[str, Any]) -> str:
    """What is wrong with the form of a reference, empty when nothing is."""
    provider, name = str(ref.get("provider", "default")), str(ref["id"])
    if not _PROVIDER.fullmatch(provider):
        return f"provider {provider!r} must match ^[a-z][a-z0-9_-]{{0,63}}$"
    if ref["source"] == "env" and not _ENV_ID.fullmatch(name):
        return f"env id {name!r} must match ^[A-Z][A-Z0-9_]{{0,127}}$"
    if ref["source"] == "file" and name != "value" and not name.startswith("/"):
        return f"file id {name!r} must be a JSON pointer such as /telegram/token"
    if ref["source"] == "exec" and not _EXEC_ID.fullmatch(name):
        return f"exec id {name!r} must be a plain name without . or .. segments"
    return ""


class Vault:
    """Resolves references against `secrets.providers`; each file and command is used once per vault."""

    def __init__(self, secrets: Any, paths: Paths, environ: Mapping[str, str]) -> None:
        providers = secrets.get("providers") if isinstance(secrets, dict) else None
        self._providers: dict[str, Any] = providers if isinstance(providers, dict) else {}
        self._paths = paths
        self._environ = environ
        self._files: dict[str, Any] = {}

    def value(self, secret: Any) -> str:
        """The text of a secret as written in the config. Raises SecretMissing."""
        if isinstance(secret, SecretRef):
            secret = msgspec.to_builtins(secret)
        if isinstance(secret, dict):
            return self._resolve(secret)
        if not isinstance(secret, str) or not secret.strip():
            raise SecretMissing("is empty")
        if has_variable(secret):
            raise SecretMissing(f"missing env var in {_names_only(secret)}")
        return secret.strip()

    def _resolve(self, ref: Mapping[str, Any]) -> str:
        problem = check(ref) if is_ref(ref) else "is not a secret reference"
        if problem:
            raise SecretMissing(problem)
        name = str(ref.get("provider", "default"))
        provider = self._providers.get(name, {"source": "env"} if name == "default" else None)
        if not isinstance(provider, dict) or provider.get("source") != ref["source"]:
            raise SecretMissing(f'secrets.providers.{name} is not a provider of source "{ref["source"]}"')
        read = {"env": self._from_env, "file": self._from_file, "exec": self._from_command}[str(ref["source"])]
        value = read(name, provider, str(ref["id"]))
        if not value.strip():
            raise SecretMissing(f"{ref['source']} {ref['id']} is empty")
        return value.strip()

    def _from_env(self, name: str, provider: Mapping[str, Any], key: str) -> str:
        allowed = provider.get("allowlist")
        if isinstance(allowed, list) and key not in allowed:
            raise SecretMissing(f"{key} is not in secrets.providers.{name}.allowlist")
        if not self._environ.get(key):
            raise SecretMissing(f'missing env var "{key}"')
        return self._environ[key]

    def _from_file(self, name: str, provider: Mapping[str, Any], pointer: str) -> str:
        if name not in self._files:
            self._files[name] = self._read(name, provider)
        content = self._files[name]
        if provider.get("mode", "json") == "singleValue":
            return str(content)
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(content, dict) or key not in content:
                raise SecretMissing(f"secrets.providers.{name}: nothing at {pointer}")
            content = content[key]
        if not isinstance(content, str):
            raise SecretMissing(f"secrets.providers.{name}: {pointer} is not a string")
        return content

    def _read(self, name: str, provider: Mapping[str, Any]) -> Any:
        file = self._paths.expand(str(provider.get("path", "")))
        try:
            data = read_bytes(file)
            return data.decode().strip() if provider.get("mode") == "singleValue" else msgspec.json.decode(data)
        except OSError as error:
            raise SecretMissing(f"secrets.providers.{name}: cannot read {file}: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise SecretMissing(f"secrets.providers.{name}: {file} is not what its mode says") from None

    def _from_command(self, name: str, provider: Mapping[str, Any], key: str) -> str:
        command = str(provider.get("command", ""))
        if not Path(command).is_absolute():
            raise SecretMissing(f"secrets.providers.{name}.command must be an absolute path")
        request = {"protocolVersion": 1, "provider": name, "ids": [key]}
        answer = self._run(name, provider, msgspec.json.encode(request))
        values = answer.get("values") if isinstance(answer, dict) else None
        if not isinstance(values, dict) or not isinstance(values.get(key), str):
            raise SecretMissing(f"secrets.providers.{name}: the command gave no value for {key}")
        return str(values[key])

    def _run(self, name: str, provider: Mapping[str, Any], request: bytes) -> Any:
        argv = [str(provider["command"]), *map(str, provider.get("args") or ())]
        keep = {"PATH", "HOME", *map(str, provider.get("passEnv") or ())}
        try:
            done = subprocess.run(
                argv,
                input=request,
                capture_output=True,
                timeout=_seconds(provider.get("timeoutMs")),
                env={key: value for key, value in self._environ.items() if key in keep},
                check=True,
            )
            return msgspec.json.decode(done.stdout[:_MAX_OUTPUT])
        except subprocess.TimeoutExpired:
            raise SecretMissing(f"secrets.providers.{name}: the command did not answer in time") from None
        except subprocess.CalledProcessError as error:
            raise SecretMissing(f"secrets.providers.{name}: the command ended with {error.returncode}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise SecretMissing(f"secrets.providers.{name}: the command failed: {type(error).__name__}") from None


def _seconds(milliseconds: Any) -> float:
    value = milliseconds if isinstance(milliseconds, int) and milliseconds > 0 else _DEFAULT_TIMEOUT_MS
    return min(value, _MAX_TIMEOUT_MS) / 1000


def _names_only(text: str) -> str:
    return ", ".join(re.findall(r"\$\{[A-Z_][A-Z0-9_]*\}", text))
