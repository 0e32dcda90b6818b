"""A site that has gone over to the coordinator."""

from dataclasses import dataclass

import numpy as np

from client.training.secure_site import question_in
from common.messages import answer_layout
from common.messages.transport import Request
from common.plans import lineage as lineages
from common.secagg.participant import Participant


def forget(_: object) -> None:
    """A colluder remembers what it likes."""


@dataclass
class Colluder:
    """A site that helps the coordinator: it checks nothing, adds zeros, and signs whatever it is shown."""

    machine: Participant
    sent: bytes = b""

    def answer(self, request: Request) -> bytes:
        """Its message at a step of the protocol; it does not audit."""
        if request.kind == "secagg/follow":
            return answer_layout.encode_number(answer_layout.AWAITS_NOTHING)
        content, step = request.tensors["message"].tobytes(), request.kind.removeprefix("secagg/")
        if step == "join":
            pending = self.machine.join(content, request.tensors["roster"].tobytes(), 0.0)
        elif step == "agree":
            pending = self.machine.agree(content, self.sent)
        elif step == "submit":
            lineage = bytes.fromhex(str(request.settings["lineage"]))
            self.machine = self.machine.open(content, lineages.question(question_in(request), lineage), 0.0)
            layout = self.machine.plan.question_kinds[self.machine.state.round.kind].layout
            words = np.zeros(layout.length, layout.dtype)
            pending = self.machine.submit(words)
            self.sent = words.tobytes()
        else:
            pending = getattr(self.machine, step)(content)
        self.machine, message = pending.commit(forget)
        return bytes(message)
