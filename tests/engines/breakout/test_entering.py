"""Programs that make themselves such that whoever enters, lists or copies them is led astray."""

from __future__ import annotations

import pytest

from containers_app import errors
from containers_app.engines.raw import RawEngine
from containers_app.kernel import procfs, standing

from ..conftest import Home, spec, until
from .conftest import Compile, write_image


async def test_who_has_let_go_of_its_namespaces_is_not_entered(raw: RawEngine, home: Home, compiled: Compile) -> None:
    """Its first thread has ended while another runs: most links in /proc/PID/ns are gone, and so are the namespaces to join."""
    source = """
    #include <pthread.h>
    #include <unistd.h>
    static void *stay(void *_) { sleep(1000); return 0; }
    int main(void) { pthread_t other; pthread_create(&other, 0, stay, 0); pthread_exit(0); }
    """
    box = await raw.create(spec(image=write_image(home, "headless", {"run": compiled(source)}), command=["/run"]), "")
    await until(lambda: (found := procfs.process(box.pid)) is not None and found.state == "zombie")
    with pytest.raises(errors.Conflict, match="can't be entered"):
        await raw.execute(box.id, ("/run",), 10)
    with pytest.raises(errors.Conflict, match="can't be entered"):
        await raw.open_terminal(box.id, ("/run",), 24, 80)
    with pytest.raises(errors.NotFound):
        standing.join_flags(box.pid)
    await raw.kill(box.id, 9)  # by its control group: cgroup.kill alone does not reach the thread that is left
    assert raw.get(box.id).state == "exited"
