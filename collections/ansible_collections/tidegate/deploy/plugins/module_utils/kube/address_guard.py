# SPDX-License-Identifier: Apache-2.0
"""Where a cluster's name may lead when a run resolves it: the same rule as when the cluster was stored. Pure.

A name can lead elsewhere an hour later, so whoever connects judges the address that is connected to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]  # noqa: UP007 (3.9 has no |)
# Where clouds answer machines about themselves, beside the link-local address that most of them use.
_METADATA = {"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"}
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def why_forbidden(text: str, allowed: Iterable[str]) -> str | None:
    """What kind of address it is when a run may not go there, None when it may. `allowed` are networks (CIDR)."""
    return _why(ipaddress.ip_address(text.partition("%")[0]), [ipaddress.ip_network(one) for one in allowed])


def _why(address: Address, allowed: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str | None:
    if any(address.version == network.version and address in network for network in allowed):
        return None
    inner = _inner(address)
    if inner is not None:
        return _why(inner, allowed)
    kinds = (
        (str(address) in _METADATA, "a metadata address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_unspecified, "no address"),
        (address.version == 4 and address in _THIS_NETWORK, "an address of this machine"),
        (address.is_reserved, "a reserved address"),
    )
    return next((kind for is_so, kind in kinds if is_so), None)


def _inner(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
