"""Pages that classify pictures in a browser, without a server."""
