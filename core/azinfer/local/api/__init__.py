"""The API: routes of every surface, and how a request becomes an answer."""
