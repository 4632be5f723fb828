"""The training engine: arrays and schemas in, branches out. It knows no database and makes no plan."""
