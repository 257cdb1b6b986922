"""A decoder of deflate (RFC 1951) that does nothing but look how far back a stream refers."""

from __future__ import annotations

LENGTH_EXTRA = [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0]
DISTANCE_BASE = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
    3073, 4097, 6145, 8193, 12289, 16385, 24577,
]  # fmt: skip
DISTANCE_EXTRA = [0, 0, *(extra for extra in range(14) for _ in range(2))]
ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]


class Bits:
    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "little")
        self.left = 8 * len(data)

    def take(self, n: int) -> int:
        taken = self.value & ((1 << n) - 1)
        self.value >>= n
        self.left -= n
        return taken

    def symbol(self, codes: dict[tuple[int, int], int]) -> int:
        code = length = 0
        while True:
            code = code << 1 | self.take(1)
            length += 1
            if (length, code) in codes:
                return codes[length, code]


def canonical(lengths: list[int]) -> dict[tuple[int, int], int]:
    """The code of each symbol, from the lengths of all (RFC 1951 §3.2.2)."""
    codes, code = {}, 0
    for length in range(1, 16):
        code <<= 1
        for symbol, its_length in enumerate(lengths):
            if its_length == length:
                codes[length, code] = symbol
                code += 1
    return codes


FIXED = canonical([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8)
FIXED_DISTANCES = canonical([5] * 30)


def dynamic(bits: Bits) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]:
    """The codes that a block brings along (RFC 1951 §3.2.7)."""
    literals, distances, count = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
    lengths = [0] * 19
    for index in ORDER[:count]:
        lengths[index] = bits.take(3)
    codes = canonical(lengths)
    lengths = []
    while len(lengths) < literals + distances:
        symbol = bits.symbol(codes)
        if symbol < 16:
            lengths.append(symbol)
        elif symbol == 16:
            lengths += [lengths[-1]] * (3 + bits.take(2))
        else:
            lengths += [0] * (3 + bits.take(3) if symbol == 17 else 11 + bits.take(7))
    return canonical(lengths[:literals]), canonical(lengths[literals:])


def farthest_distance(data: bytes) -> int:
    """The largest distance in a stream of whole blocks none of which says it is the last."""
    farthest = 0
    # in slices, for Python shifts the whole of a number; blocks end on a byte where they are flushed
    for part in data.split(b"\x00\x00\xff\xff"):
        bits = Bits(part + b"\x00\x00\xff\xff")
        while bits.left > 7:
            assert not bits.take(1)
            kind = bits.take(2)
            if kind == 0:
                bits.take(bits.left % 8)
                length = bits.take(16)
                bits.take(16)
                bits.take(8 * length)
                continue
            codes, distance_codes = (FIXED, FIXED_DISTANCES) if kind == 1 else dynamic(bits)
            while (symbol := bits.symbol(codes)) != 256:
                if symbol > 256:
                    bits.take(LENGTH_EXTRA[symbol - 257])
                    code = bits.symbol(distance_codes)
                    distance = DISTANCE_BASE[code] + bits.take(DISTANCE_EXTRA[code])
                    farthest = max(farthest, distance)
    return farthest
