"""Labels read off titles and descriptions."""
