"""Where the gateway's page is, seen from outside of it: address and token for the operator's own eyes (SPEC 7.1)."""

from __future__ import annotations

from collections.abc import Mapping

from protocol.config import Gateway, GatewayAuth
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config.load import Loaded
from supervisor.config.parse import read_text
from supervisor.config.secretrefs import SecretMissing, Vault

DEFAULT_PORT = 18789


def port(gateway: Gateway, environ: Mapping[str, str]) -> tuple[int, str]:
    """The configured port, and where it is configured: env, config or default."""
    text = environ.get("OPENCLAW_GATEWAY_PORT", "").strip()
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text), "env"
    return (DEFAULT_PORT, "default") if gateway.port is None else (gateway.port, "config")


def bind(gateway: Gateway) -> tuple[str, str]:
    """The bind mode and the address it stands for."""
    mode = gateway.bind or "loopback"
    hosts = {"lan": "0.0.0.0", "custom": gateway.custom_bind_host or "127.0.0.1"}
    return mode, hosts.get(mode, "127.0.0.1")


def url(host: str, port: int) -> str:
    """An address that opens on this machine."""
    local = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{local}:{port}/"


def token(loaded: Loaded, paths: Paths) -> str:
    """What opens the page: of the configuration, of the environment, or the one the gateway made itself."""
    auth = loaded.config.gateway.auth or GatewayAuth()
    if auth.mode == "none":
        return ""
    vault = Vault(loaded.config.secrets, paths, loaded.environ)
    wanted, name = (auth.password, "PASSWORD") if auth.mode == "password" else (auth.token, "TOKEN")
    if auth.mode is None and auth.token is None and auth.password is not None:
        wanted = auth.password
    try:
        if wanted is not None:
            return vault.value(wanted)
    except SecretMissing as error:
        raise UserError(str(error), where="$.gateway.auth") from None
    made = (read_text(paths.credentials / "gateway-token") or "").strip()
    return loaded.environ.get(f"OPENCLAW_GATEWAY_{name}", "") or made
