# SPDX-License-Identifier: Apache-2.0
"""Takes jobs, holds their leases and locks, runs their playbooks and records what they did."""
