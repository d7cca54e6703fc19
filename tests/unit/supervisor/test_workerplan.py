"""Which workers an agent has, what each is told, and what its container is given."""

from __future__ import annotations

import msgspec
import pytest

from protocol.config import Sandbox, ToolList
from protocol.sandbox import HOST, Seat, container_name, slug
from protocol.slices import Limits
from supervisor.sandbox.spec import ContainerSpec, digest
from supervisor.workerplan import AgentPlan, Cutter, WorkerPlan
from tests.support.plans import PATHS, agent_of, keys_of, plan_of

MAIN, GROUP = "agent:a:main", "agent:a:telegram:group:-100"


def cut(*agents: AgentPlan) -> Cutter:
    return Cutter({one.id: one for one in agents}, PATHS, keys_of, (1000, 1000))


def boxed(mode: str = "all", scope: str = "agent", access: str = "none", **docker: object) -> Sandbox:
    return Sandbox(mode=mode, scope=scope, workspace_access=access, docker=docker or None)  # type: ignore[arg-type]


def container(plan: WorkerPlan) -> ContainerSpec:
    assert plan.container is not None
    return plan.container


def mounts(plan: WorkerPlan) -> dict[str, tuple[str, bool]]:
    return {one.target: (one.source, one.read_only) for one in container(plan).mounts}


@pytest.mark.parametrize(
    ("mode", "scope", "places"),
    [
        ("off", "agent", [HOST]),
        ("off", "session", [HOST]),
        ("off", "shared", [HOST]),
        ("non-main", "agent", [HOST, slug("agent:a")]),
        ("non-main", "session", [HOST]),
        ("non-main", "shared", [HOST, "shared"]),
        ("all", "agent", [slug("agent:a")]),
        ("all", "session", []),
        ("all", "shared", ["shared"]),
    ],
)
def test_the_seats_that_are_there_whatever_comes(mode: str, scope: str, places: list[str]) -> None:
    found = cut(agent_of("a", sandbox=boxed(mode, scope))).fixed()
    assert [seat.place for seat in found] == places


@pytest.mark.parametrize(
    ("mode", "scope", "key", "place"),
    [
        ("off", "session", GROUP, HOST),
        ("non-main", "agent", MAIN, HOST),
        ("non-main", "agent", GROUP, slug("agent:a")),
        ("non-main", "session", MAIN, HOST),
        ("non-main", "session", GROUP, slug(GROUP)),
        ("non-main", "shared", GROUP, "shared"),
        ("all", "agent", MAIN, slug("agent:a")),
        ("all", "session", MAIN, slug(MAIN)),
        ("all", "shared", MAIN, "shared"),
    ],
)
def test_each_session_has_one_place_and_the_supervisor_believes_no_other(
    mode: str, scope: str, key: str, place: str
) -> None:
    agent = agent_of("a", sandbox=boxed(mode, scope))
    assert agent.placement.place("a", key) == place
    cutter = cut(agent)
    assert cutter.worker(Seat("a", place), key) is not None
    assert cutter.worker(Seat("a", "elsewhere"), key) is None
    assert cutter.worker(Seat("stranger", place), key) is None


def test_a_worker_in_a_container_is_told_the_names_things_have_there() -> None:
    [plan] = cut(agent_of("a", sandbox=boxed(access="rw"), uid=7)).fixed().values()
    told = plan.slice
    assert (told.workspace, told.sessions) == ("/workspace", "/openclaw/sessions")
    assert (told.link_socket, told.proxy_socket) == ("/openclaw/link/link", "/openclaw/proxy/proxy")
    assert "/h" not in repr(told), "nothing of the host's folders"
    assert plan.link.socket == str(PATHS.link_socket("a", plan.seat.place)), "the router binds it on the host"


@pytest.mark.parametrize(
    ("access", "workspace", "agent"),
    [("none", "sandbox", None), ("ro", "sandbox", ("/w/a", True)), ("rw", "/w/a", None)],
)
def test_workspace_access_decides_which_folders_are_given(
    access: str, workspace: str, agent: tuple[str, bool] | None
) -> None:
    [plan] = cut(agent_of("a", sandbox=boxed(access=access))).fixed().values()
    own = f"/h/s/sandboxes/{slug('agent:a')}" if workspace == "sandbox" else workspace
    assert mounts(plan)["/workspace"] == (own, False)
    assert mounts(plan).get("/agent") == agent
    assert plan.slice.agent_workspace == ("/agent" if agent else "")
    denied = [layer.deny for layer in plan.slice.tool_layers if layer.deny]
    assert (("write", "edit", "apply_patch") in denied) is (access == "ro")


def test_a_container_is_never_given_the_agents_keys_or_the_configuration() -> None:
    [plan] = cut(agent_of("a", sandbox=boxed(access="rw"))).fixed().values()
    sources = {source for source, _ in mounts(plan).values()}
    assert not any(source.endswith(("/agent", ".json", "/credentials", "/state", "/run")) for source in sources)
    writable = {target for target, (_, read_only) in mounts(plan).items() if not read_only}
    assert writable == {"/workspace", "/openclaw/sessions"}


def test_a_sandboxed_session_does_not_see_the_transcripts_of_others() -> None:
    """Only where all sessions of the agent are worked on in one place is its sessions folder given whole."""
    whole = "/h/s/agents/a/sessions"
    [only] = cut(agent_of("a", sandbox=boxed("all"))).fixed().values()
    assert mounts(only)["/openclaw/sessions"] == (whole, False)
    host, box = cut(agent_of("a", sandbox=boxed("non-main"))).fixed().values()
    assert host.slice.sessions == whole
    assert mounts(box)["/openclaw/sessions"][0] == f"{whole}-{box.seat.place}"
    cutter = cut(agent_of("a", sandbox=boxed("all", "session")))
    one = cutter.worker(Seat("a", slug(GROUP)), GROUP)
    assert one is not None and mounts(one)["/openclaw/sessions"][0] == f"{whole}-{slug(GROUP)}"


def test_every_seat_has_a_link_folder_and_keys_of_its_own() -> None:
    host, box = cut(agent_of("a", sandbox=boxed("non-main"))).fixed().values()
    assert host.link.socket != box.link.socket
    assert host.slice.worker_secret != box.slice.worker_secret
    assert mounts(box)["/openclaw/link"][0] == box.link.socket.removesuffix("/link")


def test_a_shared_container_holds_all_who_share_each_in_folders_of_its_own() -> None:
    shared = boxed("all", "shared")
    agents = agent_of("a", sandbox=shared, uid=7), agent_of("b", sandbox=shared, uid=8), agent_of("c")
    plans = {seat.agent: plan for seat, plan in cut(*agents).fixed().items() if seat.place != HOST}
    assert container(plans["a"]) == container(plans["b"]), "one container"
    assert container(plans["a"]).agents == ("a", "b")
    assert (container(plans["a"]).uid, plans["a"].uid, plans["b"].uid) == (0, 7, 8), "a launcher, and a uid for each"
    assert plans["a"].slice.workspace == "/workspace/a" and plans["b"].slice.workspace == "/workspace/b"
    targets = mounts(plans["a"])
    assert targets["/workspace/a"][0] != targets["/workspace/b"][0]
    assert "/workspace" not in targets and "/openclaw/link" not in targets


def test_tenants_never_share_a_container() -> None:
    shared = boxed("all", "shared")
    one, two = agent_of("a", sandbox=shared, tenant="x"), agent_of("b", sandbox=shared, tenant="y")
    boxes = [container(plan) for plan in cut(one, two).fixed().values()]
    assert boxes[0].name != boxes[1].name
    assert [box.agents for box in boxes] == [("a",), ("b",)]


def test_names_are_those_that_other_tools_know() -> None:
    [plan] = cut(agent_of("a", sandbox=boxed())).fixed().values()
    assert container(plan).name == container_name("openclaw-sbx-", "agent", "agent:a")
    assert container(plan).scope_key == "agent:a"


def test_a_user_of_the_configuration_is_who_the_container_runs_as() -> None:
    agents = agent_of("a", sandbox=boxed(user="1234:99"), uid=7), agent_of("b", sandbox=boxed(), uid=8)
    plans = cut(*agents).fixed().values()
    assert [(plan.uid, plan.gid, container(plan).uid) for plan in plans] == [(1234, 99, 1234), (8, 8, 8)]
    [plan] = cut(agent_of("a", sandbox=boxed())).fixed().values()
    assert plan.uid == 1000, "a gateway that is not root has only its own uid to give"


def test_a_setup_command_of_several_lines_is_one_text() -> None:
    [plan] = (
        cut(agent_of("a", sandbox=boxed(setupCommand=["apt-get update", "apt-get install -y git"]))).fixed().values()
    )
    assert container(plan).setup == "apt-get update\napt-get install -y git"


def test_another_setting_makes_another_container_and_the_same_one_does_not() -> None:
    def hash_of(**docker: object) -> str:
        [plan] = cut(agent_of("a", sandbox=boxed(**docker))).fixed().values()
        return digest(container(plan))

    assert hash_of(memory="1g", cpus=1) == hash_of(cpus=1, memory="1g")
    assert hash_of(memory="1g") != hash_of(memory="2g")


def test_the_layer_for_sandboxes_is_applied_inside_and_only_there() -> None:
    agent = agent_of("a", sandbox=boxed("non-main"))
    inside = ToolList(allow=("read",))
    tools = type(agent.tools)(inside=inside)
    host, box = cut(type(agent)(**{**{name: getattr(agent, name) for name in agent.__struct_fields__}, "tools": tools})
                    ).fixed().values()  # fmt: skip
    assert inside in box.slice.tool_layers and inside not in host.slice.tool_layers


def test_plans_of_two_readings_compare_equal() -> None:
    assert plan_of(agent_of("a", sandbox=boxed())).fixed == plan_of(agent_of("a", sandbox=boxed())).fixed


def test_a_container_has_the_ceiling_of_its_agent_unless_docker_is_told_another() -> None:
    def cpus(*agents: AgentPlan) -> list[object]:
        return [container(plan).docker["cpus"] for plan in cut(*agents).fixed().values()]

    def limited(id: str, ceiling: float, **docker: object) -> AgentPlan:
        agent = agent_of(id, sandbox=boxed(**docker))
        return msgspec.structs.replace(agent, limits=Limits(cpus=ceiling))

    assert cpus(limited("a", 1.5), limited("b", 1.5, cpus=3)) == [1.5, 3]
    shared = [msgspec.structs.replace(agent_of(id, sandbox=boxed("all", "shared")), limits=Limits(cpus=ceiling))
              for id, ceiling in (("a", 1), ("b", 2))]  # fmt: skip
    assert cpus(*shared) == [2, 2], "one container, one ceiling"
