"""Who may talk to us on a channel account: direct and group policy, allowlists, per-group settings (RULES 3.9).

Decisions here are about the account, never about the agent: a sender who may talk to the account may talk to whichever
agent the binding table names. Whether a group message is *meant* for us is `mentions`.
"""

from router.access.decide import decide
from router.access.verdict import Allow, Ignore, OfferPairing, Verdict

__all__ = ["Allow", "Ignore", "OfferPairing", "Verdict", "decide"]
