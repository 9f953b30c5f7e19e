"""Holds back guessing of passwords. Kept in Django's cache: in memory now, shared when several web processes share one.

For each user name and address FREE wrong passwords cost nothing; each further one doubles the wait, up to LONGEST. For each
address PER_ADDRESS wrong ones, whatever the names, cost LONGEST. Other addresses are not held back, so nobody can lock
others out. Of IPv6 a /64 counts as one address. A right password clears the name's count.
"""

from __future__ import annotations

import hashlib
import time

from django.core.cache import cache

from .addresses import holder

FREE = 5
FIRST = 2.0  # seconds
LONGEST = 120.0  # seconds
PER_ADDRESS = 50
MEMORY = 900  # seconds until wrong passwords are forgotten


def wait(username: str, address: str) -> float:
    """Seconds until this name may be tried again from this address; 0 when it may now."""
    now = time.time()
    return max(0.0, *((cache.get(key) or (0, 0.0))[1] - now for key in _keys(username, address)))


def attempt(username: str, address: str) -> None:
    """Counted before the password is checked, so that many tries at once are no way round."""
    by_name, by_address = _keys(username, address)
    count = (cache.get(by_name) or (0, 0.0))[0] + 1
    delay = min(FIRST * 2.0 ** min(count - FREE, 30), LONGEST) if count >= FREE else 0.0
    cache.set(by_name, (count, time.time() + delay), MEMORY)
    count = (cache.get(by_address) or (0, 0.0))[0] + 1
    cache.set(by_address, (count, time.time() + (LONGEST if count >= PER_ADDRESS else 0.0)), MEMORY)


def succeeded(username: str, address: str) -> None:
    """Takes the attempt back."""
    by_name, by_address = _keys(username, address)
    cache.delete(by_name)
    count = (cache.get(by_address) or (1, 0.0))[0] - 1
    cache.set(by_address, (count, 0.0), MEMORY)


def _keys(username: str, address: str) -> tuple[str, str]:
    place = holder(address)
    name = hashlib.sha256(f"{username.casefold()}\0{place}".encode()).hexdigest()
    return f"log-in-{name}", f"log-in-from-{hashlib.sha256(place.encode()).hexdigest()}"
