# SPDX-License-Identifier: Apache-2.0
"""From the control plane's schema to C, introspection and the reference page."""
