"""Alembic's entry: runs in the connection that `db.migrations.upgrade` hands over."""

from alembic import context

from db.migrations import VERSION_TABLE, is_modelled
from db.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    compare_type=True,
    include_object=is_modelled,
    transactional_ddl=True,
)
context.run_migrations()
