"""What was done to the schema, for code of other versions to judge (``mailwarren.store.history``)."""

from sqlalchemy import CheckConstraint, Column, DateTime, Table, Text, Uuid

from mailwarren.store.metadata import metadata, one_of

schema_history = Table(
    "schema_history",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("step", Text, nullable=False),
    Column("serves", Text),
    Column("applied_at", DateTime(timezone=True), nullable=False),
    one_of("step", ("expand", "contract")),
    CheckConstraint("(step = 'contract') = (serves IS NOT NULL)", name="serves"),
    comment=(
        "Writer: mailwarren migrate. The migrations that were applied. One that contracts names the oldest revision "
        "whose code it serves; code that does not know that revision is too old for this schema."
    ),
)

schema_fills = Table(
    "schema_fills",
    metadata,
    Column("name", Text, primary_key=True),
    Column("after", Uuid),
    Column("ended_at", DateTime(timezone=True)),
    comment=(
        "Writer: mailwarren migrate. Tables whose rows stand for older ones of another table: after is the id that "
        "filling has reached, ended_at its end. A row stays for ever."
    ),
)
