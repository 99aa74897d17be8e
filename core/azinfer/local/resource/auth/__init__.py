"""Authentication: the two `keys`, bearer `tokens`, and the check of a request by both."""
