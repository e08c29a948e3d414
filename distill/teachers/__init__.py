"""Teachers, each behind the one protocol of `base`; a recipe names them by `kind`."""
