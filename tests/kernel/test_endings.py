"""How a process has ended, for whoever is not its parent: told by its stat until it is reaped, and by its pidfd afterwards."""

from __future__ import annotations

import os
import re
import select
import signal

import pytest

from containers_app.kernel import procfs
from containers_app.kernel import syscalls as sc


def kernel_keeps_endings() -> bool:
    """PIDFD_INFO_EXIT came with Linux 6.15."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    assert found is not None
    return (int(found[1]), int(found[2])) >= (6, 15)


@pytest.mark.parametrize(("end", "status"), [(lambda: os._exit(7), 7 << 8), (lambda: os.kill(os.getpid(), signal.SIGKILL), 9)])
def test_the_status_is_told_by_one_or_the_other(end: object, status: int) -> None:
    assert callable(end)
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(ready, 1)
        end()
    pidfd, started = os.pidfd_open(pid), procfs.start_time(pid)
    assert started is not None
    try:
        assert procfs.zombie_status(pid, started) is None and sc.exit_status(pidfd) is None  # it lives
        os.write(go, b"g")
        assert select.select([pidfd], [], [], 30)[0]
        assert procfs.zombie_status(pid, started) == status and sc.exit_status(pidfd) is None
        assert procfs.zombie_status(pid, started + 1) is None  # another one of that pid
        assert os.waitpid(pid, 0)[1] == status
        assert procfs.zombie_status(pid, started) is None
        assert sc.exit_status(pidfd) == (status if kernel_keeps_endings() else None)
    finally:
        for fd in (pidfd, ready, go):
            os.close(fd)
