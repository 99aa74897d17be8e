"""The wire: JSON, bodies, options, errors and the names of surfaces; knows nothing of the rest."""
