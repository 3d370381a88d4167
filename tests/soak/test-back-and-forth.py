#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: soak
# TIMEOUT: 14400
"""One guest, 1,000 times back and forth, each time another way, and disturbed: docs/testing.md, "Soak"."""

import migd_soak


def test_back_and_forth(t):
    migd_soak.run(t, rounds=1000)


migd_soak.migdtest.main()
