#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""A target that knows is in no doubt, though its source may not know yet: an operator who looks has nothing to decide."""

import migd_fault_table
import migd_faults
import migdtest


def play(t, row, fault, expected):
    [fault] = migd_faults.faults(f"^{fault}$")
    word = migd_fault_table.play_one(row, fault)
    t.check(word == expected, f"{expected}, and nobody has to decide: {word}")


def test_discarded(t):
    """The stream was cut in the guest's state; who asks is still waited for."""
    play(t, ("attach.state-saved", "precopy", "source"), "truncate", "source")


def test_died_with_its_guest(t):
    """The VMM noted that it runs the guest, and was killed."""
    play(t, ("library.activating", "precopy", "target-vmm"), "kill-target-vmm", "died with its VMM")


migdtest.main()
