"""The configuration, typed by a hand that slips or a program that errs: it is loaded, or refused in words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import json5
import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.config import Agents, Binding, Config, Gateway, Models, Session, Tools
from protocol.errors import UserError
from protocol.paths import Paths
from supervisor.config import agents, document, slices
from supervisor.config.load import Loaded, load
from supervisor.config.routes import routes_config
from supervisor.config.write import change
from tests.fuzz.making import JSON, TEXTS, cut, encoded, of, spoilt
from tests.fuzz.support import fuzz, peak, within

TOKEN = "t"
CHANNEL = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "dmPolicy": st.sampled_from(["pairing", "allowlist", "open", "disabled"]),
        "allowFrom": st.lists(st.sampled_from(["*", "tg:1", 7]), max_size=3),
        "accounts": st.dictionaries(TEXTS, st.fixed_dictionaries({}, optional={"botToken": TEXTS}), max_size=3),
        "defaultAccount": TEXTS,
        "groups": st.dictionaries(TEXTS, st.just({"requireMention": True}), max_size=2),
    },
)
CHANNELS = st.dictionaries(st.sampled_from(["telegram", "irc", "discord", "webchat", "x", "defaults"]), CHANNEL)
#: Configurations of the right shape, so that a single slip is what is tried.
GOOD = st.fixed_dictionaries(
    {},
    optional={
        "agents": of(Agents),
        "bindings": st.lists(of(Binding), max_size=3),
        "channels": CHANNELS,
        "session": of(Session),
        "tools": of(Tools),
        "models": of(Models),
        "gateway": of(Gateway),
        "env": st.dictionaries(st.sampled_from(["A", "vars", "shellEnv"]), JSON, max_size=2),
        "secrets": JSON,
        "skills": JSON,
        "broadcast": st.dictionaries(TEXTS, st.lists(TEXTS, max_size=2), max_size=2),
    },
)


@pytest.fixture(scope="module")
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory() as folder:
        yield Paths.from_environ({"HOME": folder, "OPENCLAW_STATE_DIR": folder})


def outcome(paths: Paths, data: bytes) -> Loaded | None:
    """The configuration, or None where it was refused in words."""
    paths.config.write_bytes(data)
    with within():
        try:
            return load(paths, {})
        except UserError as refused:
            assert str(refused)
            return None


def hand_out(found: Loaded, paths: Paths) -> None:
    """What a gateway makes of a configuration that was taken."""
    with within():
        config, ids = found.config, agents.agent_ids(found.config)
        slices.router_slice(config, paths, {}, token="", host="", port=1)
        slices.proxy_slice(config, paths, dict.fromkeys(ids, TOKEN), {})
        for agent in ids:
            slices.worker_slice(config, paths, agent, TOKEN)
            agents.sandbox(config, agent)
        msgspec.json.encode(routes_config(config, {}))


@fuzz(150)
@given(data=st.binary(max_size=300) | cut(encoded(GOOD)))
def test_any_bytes_are_loaded_or_refused(paths: Paths, data: bytes) -> None:
    if found := outcome(paths, data):
        hand_out(found, paths)


@fuzz(200)
@given(data=encoded(spoilt(GOOD)) | encoded(JSON))
def test_a_configuration_with_a_slip_is_loaded_or_refused(paths: Paths, data: bytes) -> None:
    if found := outcome(paths, data):
        hand_out(found, paths)


@fuzz(60)
@given(value=GOOD)
def test_what_is_taken_can_be_handed_out(paths: Paths, value: dict[str, Any]) -> None:
    """Whatever the check lets through, no process stumbles over."""
    found = outcome(paths, msgspec.json.encode(value))
    assume(found is not None)
    assert found is not None
    hand_out(found, paths)


PIECES = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            '"',
            "'",
            "//",
            "/*",
            "*/",
            "\\",
            "\n",
            "\r",
            "\u2028",
            "\ufeff",
            " ",
            "0x",
            "-",
        ),
        *(
            "+",
            ".",
            "e",
            "Infinity",
            "NaN",
            "true",
            "null",
            "a",
            "$include",
            "${A}",
            "1",
            "\\u",
            "\\x4",
            "\\ud800",
            "é",
        ),
    ]
)


@fuzz(400)
@given(text=st.lists(PIECES, max_size=40).map("".join))
def test_pieces_of_json5_in_any_order_are_read_or_refused(paths: Paths, text: str) -> None:
    """And what is read is what the reference reader reads."""
    with within():
        try:
            node = document.parse(text)
        except document.SyntaxProblem:
            return
        assert text[node.start : node.end].strip()
    try:
        expected = json5.loads(text)
    except ValueError:
        return  # tests of the document say where the two readers differ
    assert repr(node.value) == repr(expected) or isinstance(expected, int | float)


@fuzz(60)
@given(
    files=st.lists(
        st.fixed_dictionaries(
            {
                "$include": st.sampled_from(["0", "1", "2", "3", "..", ".", "", "/etc/passwd", "9"])
                | st.lists(TEXTS)
                | JSON
            },
            optional={"cron": JSON, "env": JSON},
        ),
        min_size=1,
        max_size=4,
    )
)
def test_files_that_include_each_other_come_to_an_end(paths: Paths, files: list[dict[str, Any]]) -> None:
    for index, value in enumerate(files):
        (paths.state / str(index)).write_bytes(msgspec.json.encode(value))
    outcome(paths, msgspec.json.encode(files[0]))


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        '{"a":',
        "[],",
        "{},",
        "1,",
        '"",',
        "/**/",
        "/*",
        "//",
        '"\\\r\n',
        "${A}",
        "'\\u0041",
        "0x1",
        "a:1,",
        "\n",
        "\ufeff",
    ],
)
@pytest.mark.parametrize("head", ["", "{cron: [", '{"cron":"'])
def test_a_long_file_costs_time_and_memory_by_its_length(paths: Paths, head: str, piece: str) -> None:
    """Fifty thousand of anything: no square of it, no stack of it."""
    data = (head + piece * (50_000 // len(piece))).encode()
    used = peak(lambda: outcome(paths, data))
    assert used < 300 * len(data) + 20_000_000  # the file is read into a buffer of its largest size


@fuzz(60)
@given(value=GOOD)
def test_a_write_followed_by_a_read_is_the_same_config(paths: Paths, value: dict[str, Any]) -> None:
    """For every configuration that may be written; the stamp of the writer is not the user's."""
    paths.config.unlink(missing_ok=True)
    try:
        written = change(paths, {}, lambda _: value, command="test")
    except UserError:
        return
    assert said(load(paths, {})) == said(written.loaded)


def said(loaded: Loaded) -> tuple[Config, dict[str, Any]]:
    """Without the writer's stamp."""
    config = msgspec.structs.replace(loaded.config, meta=None)
    return config, {key: one for key, one in loaded.values.items() if key != "meta"}


@fuzz(60)
@given(first=GOOD, second=GOOD)
def test_a_second_write_says_the_second_thing_whatever_stood_there(
    paths: Paths, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """The text of the first is edited, not replaced, and must end up meaning the second."""
    if outcome(paths, msgspec.json.encode(first)) is None:
        return
    try:
        written = change(paths, {}, lambda _: second, command="test")
    except UserError:
        return
    assert said(load(paths, {})) == said(written.loaded)
