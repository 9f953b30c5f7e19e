"""The words between web and worker, and their frames. Both sides import this; nobody else speaks it.

    web (client)                                worker (server)
    ── connect; SO_PEERCRED is held against the policy, else the connection is closed
    Hello(version)              ───────────▶
                                ◀───────────    Hello(version, node)      another version: Failure, close
    Request(id, Command)        ───────────▶
                                ◀───────────    Reply(id, result) (+ one fd by SCM_RIGHTS when has_fd)
                                             or Failure(id, code, message, hint, status)
    Request(id, Subscribe)      ───────────▶
                                ◀───────────    Reply(id, …), then Push(topic, payload) until the connection ends

A frame is a 4-byte big-endian length and that many bytes of MessagePack. A length over the bound, a frame that does
not decode, an unknown command or a wrong type is answered by a Failure (with id 0 when no id could be read) and, where
the stream can no longer be trusted (length over the bound, half a frame), by closing the connection.
"""

from ...engines.base import Container as Container
from ...engines.base import EngineStatus as EngineStatus
from ...engines.base import ExecResult as ExecResult
from ...engines.base import LogQuery as LogQuery
from ...engines.base import LogText as LogText
from ...engines.base import NamespaceView as NamespaceView
from ...engines.docker_words import Attachment as Attachment
from ...engines.docker_words import NetworkFacts as NetworkFacts
from ...engines.docker_words import Prunable as Prunable
from ...engines.docker_words import Volume as Volume
from .frames import *
from .requests import *
from .results import *
