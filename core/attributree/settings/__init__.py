"""What plugins.toml and the environment say, and how one attribute trains."""
