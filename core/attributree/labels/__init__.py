"""What was said of images, and what it means under today's schemas."""
