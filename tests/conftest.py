"""What the tests share stands in tests/support, where they import its classes from; the fixtures are found here."""

pytest_plugins = ["support.databases", "support.postgresql", "support.catalogues", "support.projects"]
