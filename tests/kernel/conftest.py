"""What the kernel tests share: the real control groups of this host, and processes that end with the test."""

import os
import subprocess

import pytest

from containers_app.kernel import cgroups as module


@pytest.fixture(scope="session")
def cgroups():
    return module.choose()


@pytest.fixture
def group(cgroups):
    """The name of a group that nobody else has. Whatever a test makes in it is killed and removed afterwards."""
    top = f"terrarium-t{os.getpid():x}"
    yield f"{top}/one"
    for name in ("one", "two"):
        cgroups.thaw(cgroups.paths(f"{top}/{name}"))
        cgroups.kill(cgroups.paths(f"{top}/{name}"))
    cgroups.remove(cgroups.paths(top))


@pytest.fixture
def spawn(cgroups):
    """Start a process, inside of the group whose paths are given. It is killed and reaped afterwards."""
    started = []

    def start(*argv, paths=None, **options):
        def join():
            for file in cgroups.procs_files(paths):
                with open(file, "w") as procs:
                    procs.write("0")  # 0 is the writer itself

        process = subprocess.Popen(argv, preexec_fn=join if paths else None, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
