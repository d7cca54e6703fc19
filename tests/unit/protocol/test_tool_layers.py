"""The layers a configuration makes, in the order of RULES 3.6."""

from __future__ import annotations

from protocol import tool_layers
from protocol.config import AgentTools, ExecTool, FsTools, ProviderTools, SandboxTools, ToolList, Tools
from protocol.tool_policy import SANDBOX_ALLOW, SANDBOX_DENY, effective, for_sender

EVERYBODY = Tools(deny=("cron",), by_provider={"OpenAI": ProviderTools(deny=("exec",), profile="coding")})
AGENT = AgentTools(also_allow=("browser",), by_provider={"openai/gpt": ProviderTools(allow=("read",))})


def sandboxed(**lists: tuple[str, ...]) -> AgentTools:
    return AgentTools(sandbox=SandboxTools(tools=ToolList(**lists)))


def test_a_model_has_its_own_entry_and_else_its_providers() -> None:
    """Provider's profile first, then global, global provider, agent, agent provider; case does not count."""
    found = tool_layers.tool_layers(EVERYBODY, AGENT, "openai/GPT")
    assert [one.deny or one.also_allow or len(one.allow or ()) for one in found] == [
        *(25, ("cron",), ("exec",)),
        *(("browser",), 1),
    ]
    assert len(tool_layers.tool_layers(EVERYBODY, AGENT, "openai/other")) == 4
    assert len(tool_layers.tool_layers(EVERYBODY, AGENT, "google/gpt")) == 2
    assert len(tool_layers.tool_layers(EVERYBODY, AGENT, "")) == 2


def test_a_model_named_after_a_third_is_found_by_that_name() -> None:
    named = Tools(by_provider={"anthropic/opus": ProviderTools(deny=("exec",))})
    assert tool_layers.tool_layers(named, AgentTools(), "google/anthropic/opus") == (ToolList(deny=("exec",)),)


def test_sections_that_are_there_widen_the_profile() -> None:
    """Even empty ones, as in the original; the agent's alsoAllow stands for everybody's."""
    shared, own = Tools(also_allow=("cron",), exec=ExecTool()), AgentTools(fs=FsTools())
    assert tool_layers.profile_also(shared, own) == ("cron", "exec", "process", "read", "write", "edit")
    assert tool_layers.profile_also(shared, AgentTools(also_allow=())) == ("exec", "process")
    assert tool_layers.profile(Tools(profile="coding"), AgentTools(profile="minimal")) == "minimal"
    assert tool_layers.profile(Tools(profile="coding"), AgentTools()) == "coding"


def test_a_container_has_the_default_lists_where_nothing_is_said() -> None:
    layer = tool_layers.inside(Tools(), AgentTools())
    assert (layer.allow, layer.deny) == (SANDBOX_ALLOW, SANDBOX_DENY)


def test_what_is_allowed_by_name_is_not_denied_by_default() -> None:
    """And the agent's list stands for everybody's, whole."""
    layer = tool_layers.inside(Tools(sandbox=SandboxTools(tools=ToolList(allow=("cron",)))), AgentTools())
    assert layer.allow == ("cron", "image")
    assert "cron" not in (layer.deny or ())
    both = tool_layers.inside(Tools(sandbox=SandboxTools(tools=ToolList(deny=("read",)))), sandboxed(allow=("exec",)))
    assert (both.allow, both.deny) == (("exec", "image"), ("read",))
    wider = tool_layers.inside(Tools(), sandboxed(also_allow=("bro*",)))
    assert effective(("browser", "canvas", "exec"), "", (wider,)) == {"browser", "exec"}


def test_an_empty_list_of_a_container_is_no_restriction() -> None:
    layer = tool_layers.inside(Tools(), sandboxed(allow=(), also_allow=("cron",)))
    assert effective(("message", "cron", "canvas"), "", (layer,)) == {"message", "cron"}


def test_some_tools_are_for_owners() -> None:
    assert for_sender(("cron", "read", "gateway", "nodes"), owner=False) == {"read"}
    assert for_sender(("cron", "read"), owner=True) == {"cron", "read"}
