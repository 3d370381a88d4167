#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every fault point of the sources is in the fault matrix."""

import migd_faults
import migdtest


def test_every_point_has_a_place(t):
    migd_faults.check_table()


migdtest.main(kvm=False)
