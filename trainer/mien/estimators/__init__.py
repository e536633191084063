"""Networks of others that read faces: action units and identity, from files on disk or from a function."""
