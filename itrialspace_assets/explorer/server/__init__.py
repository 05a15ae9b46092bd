"""The explorer's web server: its routes, what guards them, what is opened once."""
