# SPDX-License-Identifier: Apache-2.0
"""The benchmark's parts; bench/run puts them together."""
