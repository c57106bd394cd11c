# SPDX-License-Identifier: Apache-2.0
"""How workers are woken: inside one machine, or through PostgreSQL."""
