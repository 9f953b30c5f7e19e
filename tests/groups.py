"""The real control groups of this host, and processes that end with the test. Fixtures for whichever conftest imports them."""

import subprocess
import time

import pytest

from containers_app.kernel import cgroups as module
from containers_app.kernel.cgroups import files

PERIOD = 0.1  # seconds


def joining(cgroups, paths):
    """What a new process calls to enter the group before its program runs."""

    def join():
        for file in cgroups.procs_files(paths):
            with open(file, "w") as procs:
                procs.write("0")  # 0 is the writer itself

    return join


def cpu_and_periods(cgroups, paths) -> tuple[float, int]:
    """The group's own count of CPU seconds, and of the periods in which it ran."""
    found = cgroups.counters(paths)
    used = files.number(files.read(found.cpu), found.cpu_key)
    return used * found.cpu_unit, files.number(files.read(found.periods), b"nr_periods ")


def share(cgroups, paths, cores: float) -> float:
    """The most cores that it had in ten of the kernel's periods: others on a busy machine may have left it less for a while."""
    most, deadline = 0.0, time.monotonic() + 60
    while most < cores * 0.9 and time.monotonic() < deadline:
        used, periods = cpu_and_periods(cgroups, paths)
        while (now := cpu_and_periods(cgroups, paths))[1] < periods + 10:
            time.sleep(0.02)
        most = max(most, (now[0] - used) / ((now[1] - periods) * PERIOD))
    return most


@pytest.fixture(scope="session")
def cgroups():
    return module.choose()


@pytest.fixture
def spawn(cgroups):
    """Start a process, inside of the group whose paths are given. It is killed and reaped afterwards."""
    started = []

    def start(*argv, paths=None, **options):
        process = subprocess.Popen(argv, preexec_fn=joining(cgroups, paths) if paths else None, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
