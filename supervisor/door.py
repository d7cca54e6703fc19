"""The HTTP port as the operator configured it: where it listens, and what opens it (SPEC 3.4.1, 7.1)."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping

from protocol.config import Gateway, GatewayAuth, Secret
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.secretrefs import SecretMissing, Vault
from supervisor.life import EX_CONFIG

DEFAULT_PORT = 18789
TOKEN_MADE = "auth token was missing. Generated a new token and saved it to credentials/gateway-token"
_LOCAL = ("127.0.0.1", "::1", "localhost")


def host(gateway: Gateway, option: str | None) -> str:
    """The address of the HTTP port: this machine only, unless something else is asked for."""
    bind = option or gateway.bind or "loopback"
    match bind:
        case "loopback" | "auto":
            return "127.0.0.1"
        case "lan":
            return "0.0.0.0"
        case "custom" if gateway.custom_bind_host:
            return gateway.custom_bind_host
        case "custom":
            hint = "openclaw config set gateway.customBindHost 192.168.1.10"
            raise UserError("bind is custom but no host is named", where="$.gateway.customBindHost", hint=hint)
    hint = "openclaw config set gateway.bind loopback"
    raise UserError(f"bind {bind!r} is not possible here", where="$.gateway.bind", hint=hint)


def port(gateway: Gateway, option: int | None, environ: Mapping[str, str]) -> int:
    """`--port`, OPENCLAW_GATEWAY_PORT, the configuration, 18789; the first that is set."""
    if option is not None:
        return option
    text = environ.get("OPENCLAW_GATEWAY_PORT", "").strip()
    if not text:
        return DEFAULT_PORT if gateway.port is None else gateway.port
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise UserError(f"not a port: {text!r}", where="OPENCLAW_GATEWAY_PORT", hint="unset OPENCLAW_GATEWAY_PORT")
    return int(text)


def port_problem(host: str, port: int) -> str:
    """Why nobody can listen there now, empty when somebody can. Tried by doing, for a moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            return f"{host}:{port}: {error.strerror}"
    return ""


def configured_token(gateway: Gateway, vault: Vault, environ: Mapping[str, str]) -> str:
    """The token or password that opens the HTTP port; empty when none is configured. Raises UserError."""
    auth = gateway.auth or GatewayAuth()
    if auth.mode is None and auth.token and auth.password:
        raise UserError(
            "gateway.auth.token and gateway.auth.password are both set",
            where="$.gateway.auth.mode",
            hint="openclaw config set gateway.auth.mode token",
            exit_code=EX_CONFIG,
        )
    token = _resolve(vault, auth.token, "$.gateway.auth.token") or environ.get("OPENCLAW_GATEWAY_TOKEN", "")
    password = _resolve(vault, auth.password, "$.gateway.auth.password") or environ.get("OPENCLAW_GATEWAY_PASSWORD", "")
    if auth.mode == "password" or (auth.mode is None and not token):
        return password
    return "" if auth.mode == "none" else token


def _resolve(vault: Vault, secret: Secret | None, where: str) -> str:
    try:
        return vault.value(secret) if secret is not None else ""
    except SecretMissing as error:
        raise UserError(f"the secret {error}", where=where) from None


def check_exposure(host: str) -> None:
    """Nobody is let in from the network without a token that its owner knows."""
    if host not in _LOCAL:
        raise UserError(
            f"Refusing to bind gateway to {host} without auth.",
            where="$.gateway.auth",
            hint="openclaw config set gateway.auth.token $(openssl rand -hex 24)",
            exit_code=EX_CONFIG,
        )


def own_token(paths: Paths) -> tuple[str, bool]:
    """The token kept for a configuration that names none, and whether it was made just now.

    It is kept beside the configuration and not in it: the operator's file is not rewritten behind his back.
    """
    path = paths.credentials / "gateway-token"
    try:
        if token := path.read_text().strip():
            return token, False
        path.unlink()
    except OSError:
        pass
    token = secrets.token_hex(24)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
    except OSError as error:
        raise UserError(f"cannot write the gateway token: {error.strerror}", where=str(path)) from None
    return token, True
