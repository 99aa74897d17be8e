"""Locks that a forked child can use, even if threads of its parent had them."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class _Owner(Protocol):
    def renew_locks(self) -> None: ...


_owners: WeakSet[_Owner] = WeakSet()


def renew_after_fork(owner: _Owner) -> None:
    """Call `owner.renew_locks()` in each forked child.

    A thread of the parent may have a lock at the moment of the fork. In the child that thread does
    not exist, and nothing would ever release the lock.
    """
    _owners.add(owner)


def _renew_all() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_renew_all)
