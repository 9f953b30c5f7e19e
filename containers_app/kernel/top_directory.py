"""Telling the file system that a directory's subdirectories have nothing to do with each other (chattr +T).

ext4 does not use an inode again for minutes after its file was deleted, and walks over all such inodes of a block group for each
file that it makes there. Where sandboxes come and go in one group, that is milliseconds for each. Below a top directory each
subdirectory goes to a group of its own. Sources: ioctl_iflags(2), chattr(1), fs/ext4/ialloc.c (find_inode_bit, find_group_orlov).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000


def mark(directory: str) -> None:
    """Nothing, where the file system knows no such thing."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("=q", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))
            fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=q", flags | FS_TOPDIR_FL))
    finally:
        os.close(fd)
