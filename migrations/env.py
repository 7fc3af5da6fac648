"""Runs the migrations on the connection that the registry hands over; see lifecycle/registry/migrate.py."""

from alembic import context

from lifecycle.registry.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    # The registry holds the transaction, so that a migration is kept whole or not at all.
    transactional_ddl=False,
)
context.run_migrations()
