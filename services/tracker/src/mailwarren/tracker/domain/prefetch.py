"""How many messages to have in hand, when what must be bounded is their octets.

AMQP counts messages only, in RabbitMQ for each queue. So the count follows the sizes that come: it falls at once when
too much is in hand, and rises slowly when there has been room for long.
"""

GROWTH = 4
CALM = 60.0
"""Seconds of room before a rise."""


class Prefetch:
    """Messages for each queue: :attr:`now`, at most ``most``.

    Args:
        most: what it begins with.
        budget: octets that all queues together may have in hand, about.
        queues: how many there are.
    """

    def __init__(self, most: int, budget: int, queues: int) -> None:
        self.now = most
        self._most = most
        self._budget = budget
        self._queues = queues
        self._highest = 0
        self._since = 0.0

    def falls(self, octets: int, messages: int, at: float) -> bool:
        """Whether ``octets`` in ``messages`` in hand ``at`` this time (seconds) are too much: then ``now`` is less.

        If all queues bring messages of such a size, half of the budget is in hand afterwards. One message of each queue
        is never too much: it has to be possible to go on.
        """
        self._highest = max(self._highest, octets)
        if octets <= self._budget or self.now == 1:
            return False
        fitting = self._budget * messages // (2 * self._queues * octets)
        self.now = max(1, min(fitting, self.now // 2))
        self._highest, self._since = 0, at
        return True

    def rises(self, at: float) -> bool:
        """Whether there was room for more all the time since the last look or change: then ``now`` is greater."""
        if self.now >= self._most or at - self._since < CALM:
            return False
        room = self._highest * GROWTH <= self._budget
        self._highest, self._since = 0, at
        if room:
            self.now = min(self.now * GROWTH, self._most)
        return room
