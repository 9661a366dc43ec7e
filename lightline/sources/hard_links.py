"""Names that hard links in a tar archive give to members before them, as in one of a folder without duplicates."""

from collections.abc import Sequence

from lightline.sources.names import without_dot


class HardLinks:
    """Collected when an archive is read for the first time, to be given out when it is read again."""

    def __init__(self):
        self._member_of: dict[str, str] = {}
        self._links_of: dict[str, list[str]] = {}

    def add(self, name: str, target: str) -> None:
        """Add a link; target: a member, or another link, before it."""
        target = without_dot(target)
        member = self._member_of.get(target, target)
        self._member_of[without_dot(name)] = member
        self._links_of.setdefault(member, []).append(name)

    def of(self, name: str) -> Sequence[str]:
        """Return the links to a member."""
        return self._links_of.get(without_dot(name), ())
