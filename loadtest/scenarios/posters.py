"""The users that post, each in the way that an application would choose: one by one, in batches, one text for many."""

from typing import ClassVar

from locust import task

from mailwarren.load.mails import code_mail, newsletter, receipt_mail
from mailwarren.load.plan import WEIGHTS
from mailwarren.load.verdict import Form
from scenarios.posting import Poster
from scenarios.session import session

BATCH = 100


class SinglePoster(Poster):
    """An application that writes to one person: a sign-in code (high lane) or a receipt (normal lane)."""

    weight = WEIGHTS["SinglePoster"]

    @task(3)
    def sign_in_code(self) -> None:
        """Three of ten."""
        to = session.domains.person()
        self.post(Form.SINGLE, code_mail(to, session.plan.run, next(session.numbers)), [(to.address, "high")])

    @task(7)
    def receipt(self) -> None:
        """Seven of ten."""
        to = session.domains.person()
        self.post(Form.SINGLE, receipt_mail(to, session.plan.run, next(session.numbers)), [(to.address, "normal")])


class BatchPoster(Poster):
    """An application that collects: a hundred receipts in a call."""

    weight = WEIGHTS["BatchPoster"]
    pause: ClassVar[tuple[float, float]] = (2.0, 5.0)

    @task
    def receipts(self) -> None:
        """Each with its own recipient and text."""
        people = session.domains.people(BATCH)
        body = [receipt_mail(to, session.plan.run, next(session.numbers)) for to in people]
        self.post(Form.BATCH, body, [(to.address, "normal") for to in people])


class BulkPoster(Poster):
    """A newsletter: one template, filled in for each of up to 10,000 recipients."""

    weight = WEIGHTS["BulkPoster"]
    pause: ClassVar[tuple[float, float]] = (5.0, 10.0)

    @task
    def campaign(self) -> None:
        """Many are small, some have all that a call may have."""
        people = session.domains.people(session.domains.size(session.plan.most))
        self.post(Form.BULK, newsletter(people, session.plan.run), [(to.address, "bulk") for to in people])
