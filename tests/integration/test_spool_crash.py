"""The spool under SIGKILL and on a full disk: what was acknowledged is there, what was refused is not."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

from router.spool.store import SqliteSpool

ROOT = Path(__file__).parents[2]

#: Prints `a <message id>` for every admitted message and `s <key>` for every sent answer, after the commit.
WRITER = """
import asyncio, os, sys
from protocol.envelope import Outbound
from router.spool.base import part_key
from router.spool.store import SqliteSpool
from tests.contract.test_spool import CHAT, NOW, admission, cursor

async def talk(spool, life, lane):
    for number in range(100_000):
        name = f"{life}-{lane}-{number}"
        (row,) = await spool.admit([admission(name)], cursor(name, f"lane{lane}"), NOW)
        os.write(1, f"a {name}\\n".encode())
        part = Outbound(key=part_key(row.id, 0, 0), address=CHAT, text=name)
        await spool.say(row.id, 0, [part], NOW, "note")
        await spool.sent(part.key, "", NOW)
        os.write(1, f"s {part.key}\\n".encode())

async def main(path, life):
    spool = SqliteSpool(path)
    await spool.open()
    await asyncio.gather(*(talk(spool, life, lane) for lane in range(8)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def read_until(stream: asyncio.StreamReader, lines: int) -> bytes:
    """At least this many lines."""
    seen = b""
    while seen.count(b"\n") < lines:
        chunk = await stream.read(65536)
        assert chunk, "the writer ended by itself"
        seen += chunk
    return seen


async def one_life(path: Path, life: int, lines: int) -> set[str]:
    """Run the writer, kill it in the middle of writing, and return what it had acknowledged by then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), str(life), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    seen = await read_until(process.stdout, lines)
    process.send_signal(signal.SIGKILL)
    seen += await process.stdout.read()
    await process.wait()
    return {line.decode() for line in seen.split(b"\n")[:-1]}


async def test_everything_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    """Five lives on one file, each killed at another moment."""
    path = tmp_path / "spool.sqlite"
    dice = random.Random(7)
    acknowledged: set[str] = set()
    for life in range(5):
        acknowledged |= await one_life(path, life, dice.randrange(20, 600))
    spool = SqliteSpool(path)
    await spool.open()
    inbox, outbox = await spool.pending()
    counts = await spool.counts()
    await spool.close()
    admitted = {f"a {row.message.message_id}" for row in inbox}
    unsent = {f"s {row.key}" for row in outbox}
    assert {line for line in acknowledged if line.startswith("a ")} <= admitted
    assert not acknowledged & unsent
    assert counts["out.sending"] == 0
    assert counts["out.sent"] + counts["out.uncertain"] <= counts["in.queued"] == len(admitted)


FULL = """
import asyncio, resource, signal, sys
from router.spool.base import SpoolFailed
from router.spool.store import SqliteSpool
from tests.contract.test_spool import NOW, admission

async def main(path):
    spool = SqliteSpool(path)
    await spool.open()
    kept, reason = [], ""
    # The system refuses to let any file of this process grow further: a full disk for this process alone.
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    for number in range(2000):
        try:
            await spool.admit([admission(str(number))], None, NOW)
            kept.append(number)
        except SpoolFailed as error:
            reason = error.reason
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await spool.admit([admission("after")], None, NOW)
    found = [row.message.message_id for row in (await spool.pending())[0]]
    await spool.close()
    print(found == [str(n) for n in kept] + ["after"], len(kept) > 10, reason)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main(sys.argv[1]))
"""


async def test_a_disk_that_takes_no_more_refuses_clearly_and_recovers(tmp_path: Path) -> None:
    """What was accepted stays, what was refused is not there, and with room again the same spool goes on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FULL, str(tmp_path / "spool.sqlite"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().startswith("True True spool spool.sqlite: the disk "), out
