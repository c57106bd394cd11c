# SPDX-License-Identifier: Apache-2.0
"""Rules without I/O: nothing here imports more than the standard library."""
