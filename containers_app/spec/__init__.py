"""What a container is asked to be: the words of the API, typed and checked.

Everything here is frozen and plain; nothing here touches the machine. ``parse_container`` and ``parse_limits``
are the border: raw JSON in, a checked value out, or ``InvalidInput`` with a hint. Sizes are bytes, CPU is cores.
"""

from .changes import *
from .checks import *
from .images import *
from .limits import *
from .networks import *
from .parsing import *
from .stored import *
from .words import *
