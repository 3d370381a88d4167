#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: soak
# TIMEOUT: 3600
"""The model of the handover with two faults anywhere."""

import os
import runpy

os.environ["MIGD_MODEL_FAULTS"] = "2"
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test-handover-is-proven.py"), run_name="__main__")
