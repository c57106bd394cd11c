# SPDX-License-Identifier: Apache-2.0
"""Implementations of the ports."""
