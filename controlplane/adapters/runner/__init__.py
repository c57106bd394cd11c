# SPDX-License-Identifier: Apache-2.0
"""Playbooks through ansible-runner, each under a supervisor of its own."""
