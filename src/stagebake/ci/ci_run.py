"""Describe one CI run, whichever system it is of, and whether its checkout can be trusted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stagebake.cache.scopes import Trigger
from stagebake.naming.image_name import DefaultImage


@dataclass(frozen=True, kw_only=True)
class CiRun:
    """Facts about one CI run. None stands for what the CI system does not say.

    `revision` is the commit that the run was started for; `source` the address of the repository's page; `image` the
    name that the CI system gives the repository's image.
    """

    system: str
    trigger: Trigger
    default_branch: str | None = None
    revision: str | None = None
    source: str | None = None
    image: DefaultImage | None = None


def trust_checkout(run: CiRun, head: str | None, *, holds_revision: bool) -> CiRun:
    """Withdraw trust where the checked-out commit is not the one that the run was started for.

    `head` is the commit that git has checked out, None without git. `holds_revision` says that git knows `head` as a
    descendant of the run's commit, such as a version bump that the workflow committed itself. Any other commit may be
    somebody else's, whatever the event is: a `repository_dispatch` often checks out a pull request.
    """
    named = run.trigger.branch is not None or run.trigger.tag is not None
    if not named or head is None or run.revision is None or head == run.revision or holds_revision:
        return run
    return replace(run, trigger=Trigger(trusted=False))
