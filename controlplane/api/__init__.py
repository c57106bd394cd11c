# SPDX-License-Identifier: Apache-2.0
"""HTTP: one file a resource, view and schema side by side."""
