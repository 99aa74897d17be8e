"""The admin API under `/_azinfer/` and the web page: for people and tests, not part of Azure."""
