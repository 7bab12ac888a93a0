"""Which addresses mean this machine: what is served without a key, and spoken to without a proxy."""

from ipaddress import ip_address

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(address: str) -> bool:
    """Whether an address or name means this machine."""
    if address.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
