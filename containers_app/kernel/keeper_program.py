"""The keeper's own program, out of reach of what it launches. Standard library only; the keeper runs this."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from . import syscalls as sc

_BEGUN_AGAIN = "LD_BIND_NOW"  # with it, not every child looks up each C function anew


def is_out_of_reach() -> bool:
    return _BEGUN_AGAIN in os.environ


def begin_again() -> NoReturn:
    """As the same program, in a mount namespace of our own in which that program is read-only.

    Mounts that we make for a moment are ours alone, and die with us; the host's own still reach us. A sandbox whose
    program is a link to /proc/self/exe runs ours, and could write to it if it is the host's root (CVE-2019-5736).
    """
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_SLAVE)
    program = os.path.realpath(sys.executable)
    tree = sc.open_tree(sc.AT_FDCWD, program, sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC)
    sc.mount_setattr(tree, set_=sc.MOUNT_ATTR_RDONLY)
    sc.move_mount(tree, sc.AT_FDCWD, program)
    os.execve(sys.executable, sys.orig_argv, {**os.environ, _BEGUN_AGAIN: "1"})
