"""The create form's capabilities are the kernel half's."""

import json
import re
from pathlib import Path

from containers_app.kernel.security import CAPABILITIES, DEFAULT_CAPABILITIES

SCRIPT = Path(__file__).parents[2] / "static/js/lib/capabilities.js"


def test_the_form_offers_the_kernels_capabilities() -> None:
    names = dict(re.findall(r"^export const (\w+) = (\[.*\]);$", SCRIPT.read_text(), re.M))
    assert json.loads(names["ALL_CAPABILITIES"]) == list(CAPABILITIES)
    assert json.loads(names["DEFAULT_CAPABILITIES"]) == list(DEFAULT_CAPABILITIES)
