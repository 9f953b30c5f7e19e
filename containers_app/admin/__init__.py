"""Django's admin pages, a module for each group of them."""

from . import accounts, containers

__all__ = ["accounts", "containers"]
