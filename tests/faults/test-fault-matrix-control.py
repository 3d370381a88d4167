#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 600
"""Faults at points of QMP, the attach protocol and its library: one side runs, and nothing is left."""

import migd_fault_table
import migdtest


def test_qmp_and_attach(t):
    migd_fault_table.each_point_once("qmp", "attach", most=4)


def test_library(t):
    migd_fault_table.each_point_once("library", most=2)


migdtest.main()
