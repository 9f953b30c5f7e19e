"""Images: where they lie (store), and what makes them. ``python -m containers_app.kernel.images`` is the program that does."""

from .busybox import BUSYBOX, ensure_busybox
from .store import (
    Image,
    check_name,
    get_image,
    hide_image,
    install_image,
    list_images,
    read_image,
    remove_scratch,
    used_image,
    write_facts,
)

__all__ = [
    "BUSYBOX",
    "Image",
    "check_name",
    "ensure_busybox",
    "get_image",
    "hide_image",
    "install_image",
    "list_images",
    "read_image",
    "remove_scratch",
    "used_image",
    "write_facts",
]  # fmt: skip
