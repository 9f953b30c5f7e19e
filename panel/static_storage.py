"""Static files under names that carry their content's hash, each with a gzip twin made once, at collectstatic."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

SMALLEST = 500  # bytes; below this the twin saves no packet
_COMPRESSIBLE = (".css", ".js", ".mjs", ".svg", ".json", ".txt", ".html")


class CompressedManifestStorage(ManifestStaticFilesStorage):
    """Rewrites the imports of ES modules too, so that every module can be cached for ever."""

    support_js_module_import_aggregation = True
    max_post_process_passes = 20  # one per level of imports

    def post_process(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for original, hashed, processed in super().post_process(*args, **kwargs):
            yield original, hashed, processed
            if hashed and not isinstance(processed, Exception) and str(hashed).endswith(_COMPRESSIBLE):
                _compress(Path(self.path(hashed)))


def _compress(path: Path) -> None:
    content = path.read_bytes()
    if len(content) < SMALLEST:
        return
    packed = gzip.compress(content, compresslevel=9, mtime=0)
    if len(packed) < len(content) * 0.9:
        path.with_name(path.name + ".gz").write_bytes(packed)
