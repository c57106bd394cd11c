# SPDX-License-Identifier: Apache-2.0
"""What can be heard on a host's segment: who answers for an address, and which virtual routers speak."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Any, Dict, Iterable, List, Set

_ETH_P_IP, _ETH_P_ARP, _VRRP = 0x0800, 0x0806, 112
_GROUP = "224.0.0.18"
_PROBES_EVERY = 0.3


def listen(interface: str, addresses: Iterable[str], seconds: float) -> Dict[str, Any]:
    """Ask by ARP for each address, and hear VRRP, for that long.

    Answers {"answers": {address: [mac]}, "adverts": [{"virtual_router_id", "source"}]}. The question is a probe
    (RFC 5227): its sender has no address, so nobody's cache is changed by it. Raises OSError without the right
    to open raw sockets.
    """
    wanted = list(addresses)
    answers: Dict[str, Set[str]] = {one: set() for one in wanted}
    adverts: Set[Any] = set()
    arp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP))
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
    member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with arp, heard, member:
        arp.bind((interface, _ETH_P_ARP))
        heard.bind((interface, _ETH_P_IP))
        index = socket.if_nametoindex(interface)
        join = struct.pack("@4s4si", socket.inet_aton(_GROUP), b"\0" * 4, index)
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
        mac = arp.getsockname()[4]
        end, ask_at = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            if time.monotonic() >= ask_at:
                ask_at = time.monotonic() + _PROBES_EVERY
                for one in wanted:
                    arp.send(_probe(mac, one))
            ready = select.select([arp, heard], [], [], 0.05)[0]
            if arp in ready:
                frame = arp.recv(2048)
                # A bridge may hand back what this host itself said.
                if frame[22:28] != mac:
                    _note_answer(frame, answers)
            if heard in ready:
                packet, source = heard.recvfrom(2048)
                # What this host sends itself is seen as well.
                if source[2] != socket.PACKET_OUTGOING:
                    _note_advert(packet, adverts)
    found = [{"virtual_router_id": number, "source": source} for number, source in sorted(adverts)]
    return {"answers": {one: sorted(macs) for one, macs in answers.items()}, "adverts": found}


def _probe(mac: bytes, address: str) -> bytes:
    frame = b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP)
    return (
        frame
        + struct.pack("!HHBBH", 1, _ETH_P_IP, 6, 4, 1)
        + mac
        + b"\0" * 4
        + b"\0" * 6
        + socket.inet_aton(address)
    )


def _note_answer(frame: bytes, answers: Dict[str, Set[str]]) -> None:
    if len(frame) < 42 or struct.unpack("!H", frame[20:22])[0] != 2:
        return
    address = socket.inet_ntoa(frame[28:32])
    if address in answers:
        answers[address].add(":".join("%02x" % byte for byte in frame[22:28]))


def _note_advert(packet: bytes, adverts: Set[Any]) -> None:
    if len(packet) < 28 or packet[9] != _VRRP:
        return
    payload = packet[(packet[0] & 15) * 4 :]
    if len(payload) >= 8 and payload[0] & 15 == 1:
        adverts.add((payload[1], socket.inet_ntoa(packet[12:16])))


def macs_of(answers: Dict[str, List[str]], addresses: Iterable[str]) -> Set[str]:
    """The hardware addresses behind these addresses."""
    return {mac for one in addresses for mac in answers.get(one, [])}
