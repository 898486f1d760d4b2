"""The record: models, migrations, the store, queries and exports."""
