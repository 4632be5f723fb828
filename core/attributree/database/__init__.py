"""Connections, transactions, migrations, tables and bulk statements.

The only room that knows that SQLite and PostgreSQL differ.
"""
