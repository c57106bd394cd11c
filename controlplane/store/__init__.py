# SPDX-License-Identifier: Apache-2.0
"""What is kept: tables, transactions, guarded updates, the event chain. SQLite and PostgreSQL."""
