#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: soak
# TIMEOUT: 21600
"""
The whole fault matrix: each fault at each point. The table is build/fault-matrix.txt, too.

MIGD_FAULT_MATRIX  a regular expression that chooses cells, POINT@WHO/FAULT (POINT@WHO.MIGRATION/FAULT if several get there)
MIGD_FAULT_JOBS    how many rows are played at a time; by default as many as there are CPUs
MIGD_FAULT_ALSO    faults that are on everywhere besides, like reports-late
MIGD_FAULT_ROW     plays the cells of just this row, POINT@WHO, one after the other
"""

import os
import re

import migd_fault_table
import migd_faults
import migdtest
from migd_process import SOURCE_DIR


def test_every_fault_at_every_point(t):
    chosen, mine = os.environ.get("MIGD_FAULT_MATRIX", ""), os.environ.get("MIGD_FAULT_ROW")
    cells = {}
    for row in migd_faults.rows():
        name = migd_fault_table.row_name(row)
        cells[name] = [(row, fault) for fault in migd_faults.FAULTS if re.search(chosen, f"{name}/{fault.name}")]
    if mine:
        migd_fault_table.play(cells[mine])
        return
    jobs = int(os.environ.get("MIGD_FAULT_JOBS", os.cpu_count()))
    path = os.path.join(SOURCE_DIR, "build", "fault-matrix.txt")
    rows = {name: [fault.name for _, fault in some] for name, some in cells.items() if some}
    t.check(rows, f"MIGD_FAULT_MATRIX: no cell matches {chosen!r}")
    migd_fault_table.play_rows(rows, chosen, jobs, path)


migdtest.main()
