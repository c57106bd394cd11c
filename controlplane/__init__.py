# SPDX-License-Identifier: Apache-2.0
"""The Tidegate control plane: decides whether and when a release happens, and records what did."""
