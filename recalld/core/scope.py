"""A scope: which user, agent and session a memory belongs to, within its namespace.

In a query, a field that is given must match and one left out matches everything that the key may see. A key can be
bound to a scope: then its fields are filled in, and another value for one of them is refused, never silently
narrowed.
"""

from dataclasses import dataclass, fields

from recalld.core.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Scope:
    """Any of the three fields; None is "not given"."""

    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None

    def covers(self, other: "Scope") -> bool:
        """Whether a query for this scope finds a memory of `other`."""
        return all(mine is None or mine == its for mine, its in zip(self.values(), other.values(), strict=True))

    def within(self, bound: "Scope") -> "Scope":
        """This scope with the fields of `bound` filled in.

        Raises:
            Forbidden: a field has another value than the one in `bound`.
        """
        for name, mine, its in zip(SCOPE_FIELDS, self.values(), bound.values(), strict=True):
            if its is not None and mine is not None and mine != its:
                raise Forbidden(f"scope.{name}: the key is bound to another value")
        return Scope(
            *(its if its is not None else mine for mine, its in zip(self.values(), bound.values(), strict=True))
        )

    def values(self) -> tuple[str | None, str | None, str | None]:
        """The three values, in the order of `SCOPE_FIELDS`."""
        return (self.user_id, self.agent_id, self.session_id)

    def given(self) -> dict[str, str]:
        """The fields that are given."""
        return {name: value for name, value in zip(SCOPE_FIELDS, self.values(), strict=True) if value is not None}


SCOPE_FIELDS = tuple(field.name for field in fields(Scope))
EVERYTHING = Scope()
