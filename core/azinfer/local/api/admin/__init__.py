"""The admin API and the web page."""
