"""Where pictures come from, how they become pixels, and the caches of pixels and features."""
