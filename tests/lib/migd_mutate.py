# SPDX-License-Identifier: Apache-2.0
"""Broken copies of a recorded stream, from a seed: cut short, with bits turned, parts missing, twice, swapped or oversized."""

import random

# What is turned over in a part: its head, where fields are. What guest memory holds nobody can check.
HEAD = 48


def _flip(parts, i, rng):
    part = bytearray(parts[i])
    for _ in range(rng.choice((1, 1, 2, 8))):
        part[rng.randrange(min(len(part), HEAD))] ^= 1 << rng.randrange(8)
    return parts[:i] + [bytes(part)] + parts[i + 1:]


def _ones(parts, i, rng):
    """A field of two, four or eight bytes as large as can be."""
    n = rng.choice((2, 4, 8))
    at = rng.randrange(min(len(parts[i]), HEAD))
    return parts[:i] + [parts[i][:at] + b"\xff" * n + parts[i][at + n:]] + parts[i + 1:]


def _truncate(parts, i, rng):
    return parts[:i] + [parts[i][:rng.randrange(len(parts[i]))]]


def _drop(parts, i, rng):
    return parts[:i] + parts[i + 1:]


def _double(parts, i, rng):
    return parts[:i + 1] + parts[i:]


def _swap(parts, i, rng):
    k = rng.randrange(len(parts))
    swapped = list(parts)
    swapped[i], swapped[k] = parts[k], parts[i]
    return swapped


def _grow(parts, i, rng):
    at = rng.randrange(min(len(parts[i]), HEAD))
    return parts[:i] + [parts[i][:at] + rng.randbytes(rng.choice((1, 7, 5000))) + parts[i][at:]] + parts[i + 1:]


KINDS = (_flip, _flip, _ones, _truncate, _drop, _double, _swap, _grow)


def mutations(parts, n, seed):
    """n of (what was done, bytes). Each kind hits the first and last parts as often as all in between."""
    parts = [p for p in parts if p]
    rng = random.Random(seed)
    for k in range(n):
        kind = KINDS[k % len(KINDS)]
        i = rng.choice((rng.randrange(min(8, len(parts))), rng.randrange(len(parts)),
                        len(parts) - 1 - rng.randrange(min(8, len(parts)))))
        yield f"seed {seed}, number {k}: {kind.__name__[1:]} of part {i} of {len(parts)}", b"".join(kind(parts, i, rng))
