#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 600
"""Faults at points of files, snapshots and lazy restores: the guest runs or is in the file, whole, and nothing is left."""

import migd_fault_table
import migdtest


def test_file(t):
    migd_fault_table.each_point_once("file", most=4)


def test_snapshot(t):
    migd_fault_table.each_point_once("snapshot", most=1)


def test_lazy(t):
    migd_fault_table.each_point_once("lazy", most=2)


migdtest.main()
