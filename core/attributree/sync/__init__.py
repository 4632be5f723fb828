"""sync-catalog: declared x catalogued x live -> actions, and the actions carried out."""
