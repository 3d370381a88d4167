#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 300
"""The first rounds of the soak, so that each run of the tests has some: docs/testing.md, "Soak"."""

import migd_soak


def test_back_and_forth(t):
    migd_soak.run(t, rounds=12)


migd_soak.migdtest.main()
