"""What tests share: import classes and functions from here; tests/conftest.py names the modules that have fixtures."""
