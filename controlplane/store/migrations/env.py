# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs revisions on the connection that `store.migrate` opened, in its transaction."""

from __future__ import annotations

from alembic import context

from controlplane.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
