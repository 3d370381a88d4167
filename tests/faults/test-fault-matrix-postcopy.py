#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 900
"""Faults at points of post-copy and of its recovery, of pre-copy's resuming, and of parallel channels."""

import migd_fault_table
import migdtest


def test_postcopy(t):
    migd_fault_table.each_point_once("postcopy", most=4)


def test_resume(t):
    migd_fault_table.each_point_once("resume", most=2)


def test_multifd(t):
    migd_fault_table.each_point_once("multifd", most=2)


migdtest.main()
