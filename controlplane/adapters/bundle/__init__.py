# SPDX-License-Identifier: Apache-2.0
"""Script bundles on the controller: verified, locked, signed, filled from their sources, packed and compared."""
