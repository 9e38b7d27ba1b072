"""A mail transaction, from MAIL to its final dot (RFC 5321 §3.3)."""

from mailwarren.sink.address import Sender
from mailwarren.sink.policy import Policy, Recipient
from mailwarren.sink.role import GO_ON


class Transaction:
    """The envelope as far as it is given, and the script that it began with."""

    __slots__ = ("eight_bit", "interruption", "policy", "recipients", "sender", "utf8")

    def __init__(self, sender: Sender, policy: Policy, recipients: list[Recipient] | None = None) -> None:
        self.sender = sender.address
        self.policy = policy
        self.utf8 = sender.utf8
        self.eight_bit = sender.eight_bit or sender.utf8
        self.recipients = recipients or []
        self.interruption = GO_ON
        """What the script does as soon as data comes."""

    @property
    def is_full(self) -> bool:
        """It has as many recipients as the script allows."""
        return len(self.recipients) >= self.policy.script.recipient_limit

    @property
    def domains(self) -> list[bytes]:
        """The domains of the recipients, in their order."""
        return [recipient.domain for recipient in self.recipients]
