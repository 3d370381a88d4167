#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 600
"""A fault at each point of the worker link, the stream and the handover: one side runs, and nothing is left."""

import migd_fault_table
import migdtest


def test_link(t):
    migd_fault_table.each_point_once("link", most=3)


def test_stream(t):
    migd_fault_table.each_point_once("stream", most=3)


def test_handover(t):
    migd_fault_table.each_point_once("handover", most=4)


migdtest.main()
