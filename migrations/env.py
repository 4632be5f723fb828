"""Runs the migrations on the connection that `attributree.catalog.migrate` hands over, and on no other."""

from alembic import context

from attributree.database.migrate import VERSION_TABLE
from attributree.database.tables import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run through `attributree db upgrade`, which locks the catalogue first")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,  # on SQLite too: a migration that is killed leaves nothing behind
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
