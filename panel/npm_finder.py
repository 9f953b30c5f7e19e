"""Static files from npm: only the files named here, under ``npm/`` of the static URL.

``TERRARIUM_NPM_DIR`` is a ``node_modules`` directory. A package brings hundreds of files (sources, tests, maps);
what is not on the list is never collected or served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

PREFIX = "npm"
ALLOWED = (
    "@xterm/xterm/lib/xterm.mjs",
    "@xterm/xterm/css/xterm.css",
    "@xterm/addon-fit/lib/addon-fit.mjs",
    "@xterm/addon-search/lib/addon-search.mjs",
    "@xterm/addon-web-links/lib/addon-web-links.mjs",
)


class NpmFinder(BaseFinder):
    """``list`` gives what is installed of ALLOWED; a missing one makes ``collectstatic`` fail at the file that imports it."""

    def __init__(self, app_names: object = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.root = Path(settings.TERRARIUM_NPM_DIR)
        self.storage = FileSystemStorage(location=self.root)
        self.storage.prefix = PREFIX  # type: ignore[attr-defined]  # collectstatic puts it before each path

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        for name in ALLOWED:
            if (self.root / name).is_file():
                yield name, self.storage

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> str | list[str]:
        name = path.removeprefix(PREFIX + "/")
        if path == name or name not in ALLOWED or not (self.root / name).is_file():
            return []
        found = str(self.root / name)
        return [found] if find_all else found
