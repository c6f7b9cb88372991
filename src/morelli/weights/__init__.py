"""Small networks that ship with the package, as bundles; each was trained by a script in `experiments`."""
