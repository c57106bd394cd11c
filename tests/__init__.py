# SPDX-License-Identifier: Apache-2.0
"""Tests: unit, ports, api, conformance (runtimes on real hosts), crash, bench, and the lab they run on."""
