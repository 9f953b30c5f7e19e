"""The real control groups of this host, and processes that end with the test. Fixtures for whichever conftest imports them."""

import subprocess

import pytest

from containers_app.kernel import cgroups as module


def joining(cgroups, paths):
    """What a new process calls to enter the group before its program runs."""

    def join():
        for file in cgroups.procs_files(paths):
            with open(file, "w") as procs:
                procs.write("0")  # 0 is the writer itself

    return join


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
