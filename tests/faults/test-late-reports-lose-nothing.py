#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 400
"""A worker dies, and its daemon knows less than was done: what it had to say was still to be sent. Its successor goes on nevertheless."""

import os

import migd_fault_table
import migd_faults
import migdtest

os.environ["MIGD_FAULT_ALSO"] = "reports-late"


def dies(t, point, scenario, side, expected):
    [fault] = migd_faults.faults(f"^kill-{side}-worker$")
    word = migd_fault_table.play_one((point, scenario, side), fault)
    t.check(word == expected, f"{expected}, and not {word}")


def test_source_in_postcopy(t):
    """To its daemon it was in pre-copy."""
    dies(t, "postcopy.run-sent", "postcopy", "source", "target")


def test_target_in_postcopy(t):
    dies(t, "postcopy.started", "postcopy", "target", "target")


def test_source_of_a_target_that_waits(t):
    dies(t, "handover.releasing", "precopy", "source", "source")


def test_target_that_was_activated(t):
    dies(t, "handover.activated", "precopy", "target", "target")


migdtest.main()
