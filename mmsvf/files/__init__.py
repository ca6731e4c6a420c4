"""Reading and writing files so that nothing they say is run, and nothing is half written. See docs/security.md."""
