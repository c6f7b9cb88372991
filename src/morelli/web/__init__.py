"""HTTP and a page: `morelli serve`. Needs the extra `web`."""
