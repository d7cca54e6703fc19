"""Where a session's worker runs (RULES 3.7)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sandbox
from protocol.config import Sandbox

MAIN = "agent:a:main"


@pytest.mark.parametrize(
    ("mode", "key", "main_key", "inside"),
    [
        ("off", MAIN, None, False),
        ("all", MAIN, None, True),
        ("all", "  ", None, False),
        ("non-main", MAIN, None, False),
        ("non-main", " main ", None, False),
        ("non-main", "agent:a:MAIN", None, True),
        ("non-main", "agent:a:home", None, True),
        ("non-main", "agent:a:home", "Home", False),
        ("non-main", MAIN, "home", False),
        ("non-main", "agent:a:telegram:group:1", None, True),
        ("non-main", "", None, False),
    ],
)
def test_which_sessions_belong_in_a_container(mode: str, key: str, main_key: str | None, inside: bool) -> None:
    """Every spelling of the main session is the main session; case counts."""
    assert sandbox.is_sandboxed(mode, "a", key, main_key=main_key) is inside


def test_the_one_global_session_is_the_main_one() -> None:
    assert not sandbox.is_sandboxed("non-main", "a", MAIN, session_scope="global")
    assert not sandbox.is_sandboxed("non-main", "a", "global", session_scope="global")


def test_settings_of_an_agent_stand_over_the_defaults_over_the_built_in_ones() -> None:
    shared = Sandbox(mode="all", docker={"env": {"A": "1"}, "binds": ["/a:/a"], "image": "x", "network": None})
    own = Sandbox(workspace_access="ro", docker={"env": {"B": "2"}, "binds": ["/b:/b"], "image": "y", "gpus": " all "})
    found = sandbox.resolve(own, shared)
    assert (found.mode, found.scope, found.backend) == ("all", "agent", "docker")
    assert (found.workspace_access, found.workspace_root) == ("ro", None)
    assert found.docker == {
        **sandbox.DOCKER,
        "image": "y",
        "env": {"A": "1", "B": "2"},
        "binds": ["/a:/a", "/b:/b"],
        "gpus": "all",
    }


def test_a_shared_container_is_shaped_by_the_defaults_alone() -> None:
    """Else each agent that shares it would want another one."""
    own = Sandbox(docker={"image": "mine", "binds": ["/:/host"]}, prune={"idleHours": 1}, workspace_access="rw")
    found = sandbox.resolve(own, Sandbox(scope="shared", docker={"image": "theirs"}))
    assert found.docker == {**sandbox.DOCKER, "image": "theirs"}
    assert found.prune == {"idleHours": 24, "maxAgeDays": 7}
    assert found.workspace_access == "rw"


def test_a_given_map_of_variables_replaces_the_built_in_one() -> None:
    assert sandbox.resolve(None, Sandbox(docker={"env": {"A": "1"}})).docker["env"] == {"A": "1"}
    assert sandbox.resolve(Sandbox(docker={"env": {"A": "1"}}), None).docker["env"] == {"LANG": "C.UTF-8", "A": "1"}


@pytest.mark.parametrize(
    ("scope", "per_session", "found"),
    [(None, True, "session"), (None, False, "shared"), ("agent", True, "agent"), (None, None, "agent")],
)
def test_the_older_word_for_a_scope_is_understood(scope: sandbox.Scope, per_session: bool | None, found: str) -> None:
    assert sandbox.resolve(Sandbox(scope=scope, per_session=per_session), None).scope == found


def test_what_is_shared_has_no_name_of_its_own() -> None:
    key = sandbox.scope_key("shared", MAIN)
    assert sandbox.container_name("p-", "shared", key) == "p-shared"
    assert sandbox.workspace_folder("/srv/sb/", "shared", key) == "/srv/sb/"


def test_names_of_one_agents_container() -> None:
    """As the original names them: people look for these words in `docker ps`."""
    key = sandbox.scope_key("agent", "agent:main:telegram:group:1")
    assert sandbox.container_name("openclaw-sbx-", "agent", key) == "openclaw-sbx-agent-main-f331f052"
    assert sandbox.workspace_folder("/sb", "agent", key) == "/sb/agent-main-f331f052"
    assert sandbox.scope_key("agent", "not a key") == "agent:main"
    assert sandbox.session_agent("not a key", "work") == "work"


@given(st.text(max_size=200))
def test_any_text_makes_a_harmless_name(text: str) -> None:
    """Nothing a stranger is called leaves the folder of sandboxes or ends a command line."""
    assert re.fullmatch(r"[a-z0-9._-]{1,32}-[0-9a-f]{8}", sandbox.slug(text))
    assert len(sandbox.container_name("p" * 60, "session", text)) <= sandbox.MAX_NAME
