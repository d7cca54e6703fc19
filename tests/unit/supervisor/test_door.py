"""Where the HTTP port listens and what opens it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from protocol.config import Gateway
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor import door
from supervisor.config.secretrefs import Vault


def gateway(**keys: object) -> Gateway:
    return msgspec.convert(keys, Gateway)


def token(found: Gateway, environ: Mapping[str, str] | None = None) -> str:
    paths = Paths(Path("/h"), Path("/h/s"), Path("/h/s/c"))
    return door.configured_token(found, Vault(None, paths, environ or {}), environ or {})


def test_only_this_machine_is_let_in_unless_something_else_is_asked_for() -> None:
    assert [door.host(gateway(), None), door.host(gateway(bind="auto"), None)] == ["127.0.0.1"] * 2
    assert door.host(gateway(bind="lan"), None) == "0.0.0.0"
    assert door.host(gateway(bind="lan"), "loopback") == "127.0.0.1"
    assert door.host(gateway(bind="custom", customBindHost="10.0.0.5"), None) == "10.0.0.5"


@pytest.mark.parametrize(("keys", "text"), [({"bind": "custom"}, "no host is named"), ({"bind": "tailnet"}, "tailnet")])
def test_a_bind_that_cannot_be_is_refused(keys: dict[str, str], text: str) -> None:
    with pytest.raises(UserError, match=text):
        door.host(gateway(**keys), None)


def test_the_port_is_the_options_then_the_environments_then_the_configurations() -> None:
    environ = {"OPENCLAW_GATEWAY_PORT": "2"}
    assert door.port(gateway(port=3), 1, environ) == 1
    assert door.port(gateway(port=3), None, environ) == 2
    assert door.port(gateway(port=3), None, {}) == 3
    assert door.port(gateway(), None, {}) == 18789
    for bad in ("x", "70000", "-1", "٣"):
        with pytest.raises(UserError, match="not a port"):
            door.port(gateway(), None, {"OPENCLAW_GATEWAY_PORT": bad})


def test_the_token_is_the_configurations_then_the_environments() -> None:
    environ = {"OPENCLAW_GATEWAY_TOKEN": "e"}
    assert token(gateway(auth={"token": "c"}), environ) == "c"
    assert token(gateway(), environ) == "e"
    assert token(gateway()) == ""
    assert token(gateway(auth={"mode": "none", "token": "c"})) == ""


def test_a_password_opens_the_port_when_it_is_the_only_thing_set_or_chosen() -> None:
    assert token(gateway(auth={"password": "p"})) == "p"
    assert token(gateway(auth={"mode": "password", "password": "p", "token": "t"})) == "p"
    with pytest.raises(UserError, match="both set") as caught:
        token(gateway(auth={"password": "p", "token": "t"}))
    assert caught.value.exit_code == 78


def test_the_network_is_not_let_in_without_a_token() -> None:
    door.check_exposure("127.0.0.1")
    with pytest.raises(UserError, match=r"Refusing to bind gateway to 0\.0\.0\.0 without auth") as caught:
        door.check_exposure("0.0.0.0")
    assert caught.value.exit_code == 78


def test_a_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path / "s", tmp_path / "s" / "c")
    first, made = door.own_token(paths)
    assert (made, len(first)) == (True, 48)
    assert door.own_token(paths) == (first, False)
    path = paths.credentials / "gateway-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
