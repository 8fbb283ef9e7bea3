"""What a statement came to, in a form in which both sides can be compared."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """A result or an error."""

    #: Spark's whole text of the error, without the stack of its Java machine; None for a success.
    error: str | None = None
    #: Spark's own JSON schema.
    schema: dict | None = None
    #: The rows as JSON; an object is a tuple of pairs, so that the order of its fields counts.
    rows: list = field(default_factory=list)
    #: Whether it was fetched as Arrow as well.
    arrow: bool = False
    #: Name, type and nullability of each Arrow column.
    arrow_fields: list = field(default_factory=list)
    #: The values of each Arrow column, as they are stored.
    arrow_columns: list = field(default_factory=list)
    #: How long it took until the rows were there as JSON (Libra), or as Python's own rows (PySpark).
    seconds: float = 0.0
