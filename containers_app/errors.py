"""The error tree. Every error says what happened, and what to do about it.

    TerrariumError            code          HTTP status
    ├── InvalidInput          invalid_*     400   what was sent cannot be meant
    ├── NotAuthenticated      log_in_first  401
    ├── PermissionDenied      forbidden     403   this user may not
    ├── PolicyRefused         policy        403   this host's policy forbids it to everyone
    ├── NotFound              not_found     404
    ├── Conflict              conflict      409   the state does not allow it now
    ├── TooLarge              too_large     413   longer than the border's bound
    ├── Unsupported           unsupported   422   this host (or engine) cannot do it
    ├── KernelRefused         kernel        409   the kernel said no; the cause in words
    ├── EngineUnavailable     engine_down   424   the Docker daemon does not answer
    └── WorkerUnavailable     worker_down   503   the worker does not answer

The message is a sentence about this case; the hint is the next step for the reader.
Only ``str`` fields cross a process border, never a traceback.
"""

from __future__ import annotations


class TerrariumError(Exception):
    code = "error"
    status = 400

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class InvalidInput(TerrariumError):
    code = "invalid_input"
    status = 400


class NotAuthenticated(TerrariumError):
    code = "log_in_first"
    status = 401


class PermissionDenied(TerrariumError):
    code = "forbidden"
    status = 403


class PolicyRefused(TerrariumError):
    code = "policy"
    status = 403


class NotFound(TerrariumError):
    code = "not_found"
    status = 404


class Conflict(TerrariumError):
    code = "conflict"
    status = 409


class TooLarge(TerrariumError):
    code = "too_large"
    status = 413


class Unsupported(TerrariumError):
    code = "unsupported"
    status = 422


class KernelRefused(TerrariumError):
    code = "kernel"
    status = 409


class EngineUnavailable(TerrariumError):
    code = "engine_down"
    status = 424


class WorkerUnavailable(TerrariumError):
    code = "worker_down"
    status = 503
