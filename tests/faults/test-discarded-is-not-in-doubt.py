#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""
A target that lost the stream's end discards its guest, and waits for a source that may ask. It is in no doubt meanwhile: an
operator who looks has nothing to decide.
"""

import migd_fault_table
import migd_faults
import migdtest


def test_stream_cut_in_the_guests_state(t):
    row = ("attach.state-saved", "precopy", "source")
    [truncate] = migd_faults.faults("^truncate$")
    word = migd_fault_table.play_one(row, truncate)
    t.check(word == "source", f"the source goes on, and nobody has to decide: {word}")


migdtest.main()
