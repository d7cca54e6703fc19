"""What runs in place of `worker.boot.serve`: takes orders as messages of its operator, and attacks.

An order is JSON, `{"attack": name, …}`, in an ordinary message. What the attack came to is the answer, one line for
each attempt, and is logged. A worker that dies of its attack gets the same message again and says so.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import NoReturn

from protocol import messages as m
from tests.support.hostile.attacks import ATTACKS
from tests.support.hostile.world import HOSTILE, Report, World
from worker import boot as product
from worker.service import EXIT_FAILED

#: Longest answer, in characters.
MOST = 20_000

_serve = product.serve


async def serve(boot: m.WorkerBoot) -> int:
    """Stands in for `worker.boot.serve`."""
    if not boot.slice.agent.startswith(HOSTILE):
        return await _serve(boot)
    return Worker(boot).run()


class Worker:
    """Obeys until its link is dead."""

    def __init__(self, boot: m.WorkerBoot) -> None:
        self._world = World(boot)
        self._begun = Path(boot.slice.sessions) / "begun"

    def run(self) -> int:
        world = self._world
        if not world.line.greet(world.generation, 10):
            return EXIT_FAILED
        world.log(f"taken over: generation {world.generation}")
        return self._listen()

    def _listen(self) -> NoReturn:
        while True:
            match self._world.line.hear(60):
                case m.Ping(n=n):
                    self._world.line.say(m.Pong(n=n))
                case m.Deliver() as order:
                    self._obey(order)
                case m.Drain() if not self._world.order.get("stubborn"):
                    self._world.line.say(m.Drained())
                    time.sleep(0.2)
                    sys.exit(0)

    def _obey(self, deliver: m.Deliver) -> None:
        world = self._world
        world.turn, world.order = deliver.id, json.loads(deliver.message.text)
        world.line.say(m.Accepted(id=deliver.id))
        report = {"died": "and came back"} if self._knows(deliver.id) else self._attack()
        text = "\n".join(f"{attempt}: {outcome}" for attempt, outcome in report.items())
        world.line.say(m.Say(id=deliver.id, seq=0, text=text[:MOST]))
        world.hear(lambda heard: isinstance(heard, m.SayAck) and heard.id == deliver.id)
        world.line.say(m.Done(id=deliver.id, outcome="answered"))

    def _knows(self, id: str) -> bool:
        """Whether an earlier life began with this message."""
        known = self._begun.read_text().split() if self._begun.exists() else []
        with self._begun.open("a") as file:
            file.write(f"{id}\n")
        return id in known

    def _attack(self) -> Report:
        name = self._world.order["attack"]
        self._world.log(f"attack {name} begins")
        try:
            report = ATTACKS[name](self._world)
        except Exception as error:
            report = {"broken": repr(error)}
        succeeded = sum(outcome.startswith("DONE") for outcome in report.values())
        self._world.log(f"attack {name} ends: {len(report)} attempts, {succeeded} succeeded")
        return report
