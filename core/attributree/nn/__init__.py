"""The network: trunk, branches, heads, losses and the tree. torch, and never SQLAlchemy."""
