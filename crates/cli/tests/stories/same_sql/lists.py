"""Lists of SQL statements, as people read them.

A statement begins with a line `--# its title`. Lines below that say more:

    --- fails                    it ends with an error
    --- without: REGEX           what two runs of it can't have in common (the number of an expression, a time of day) is
                                 cut out of texts on both sides
    --- only as JSON: REASON     Arrow is not compared, because PySpark can't read the values that way itself
    --- only as Arrow: REASON    nor JSON
    --- only in the drill        it is left out of a short run

`{name}` stands for what the caller gives under that name. In a list of twisted statements `{{a|b}}` is `a` for Libra and
`b` for PySpark.
"""

import re
from dataclasses import dataclass
from pathlib import Path

TITLE = "--# "
WITHOUT = "--- without: "
ONLY_JSON = "--- only as JSON: "
ONLY_ARROW = "--- only as Arrow: "
FAILS = "--- fails"
ONLY_IN_THE_DRILL = "--- only in the drill"
TWIST = re.compile(r"\{\{(.*?)\|(.*?)\}\}")


@dataclass
class Statement:
    """One statement and what is said about it."""

    title: str
    text: str
    without: re.Pattern | None = None
    json: bool = True
    arrow: bool = True
    in_short: bool = True
    fails: bool = False

    def for_libra(self):
        """The text that Libra gets."""
        return TWIST.sub(r"\1", self.text)

    def for_pyspark(self):
        """The text that PySpark gets."""
        return TWIST.sub(r"\2", self.text)

    def masked(self, value):
        """A value without what two runs can't have in common."""
        if self.without is None:
            return value
        if isinstance(value, str):
            return self.without.sub("", value)
        if isinstance(value, (list, tuple)):
            return type(value)(self.masked(inner) for inner in value)
        return value


def read(paths, names, short=False):
    """The statements of all files, in order; `names` are put in for what stands in braces."""
    every = [statement for path in paths for statement in _read(Path(path), names)]
    return [statement for statement in every if statement.in_short or not short]


def _read(path, names):
    statements = []
    for line in path.read_text().splitlines():
        if line.startswith(TITLE):
            statements.append(Statement(f"{path.stem}: {line[len(TITLE):].strip()}", ""))
        elif line.startswith(WITHOUT):
            statements[-1].without = re.compile(line[len(WITHOUT):].strip())
        elif line.startswith(ONLY_JSON):
            statements[-1].arrow = False
        elif line.startswith(ONLY_ARROW):
            statements[-1].json = False
        elif line == FAILS:
            statements[-1].fails = True
        elif line == ONLY_IN_THE_DRILL:
            statements[-1].in_short = False
        elif line.startswith("--- "):
            raise SystemExit(f"{path}: `{line}` says nothing")
        elif statements:
            statements[-1].text += line + "\n"
    for statement in statements:
        for name, value in names.items():
            statement.text = statement.text.replace("{" + name + "}", value)
        statement.text = statement.text.strip().removesuffix(";")
        if not statement.text:
            raise SystemExit(f"{path}: `{statement.title}` has no text")
    titles = [statement.title for statement in statements]
    if len(set(titles)) < len(titles):
        raise SystemExit(f"{path}: two statements of one title")
    return statements
