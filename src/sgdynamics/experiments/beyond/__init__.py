"""Beyond the papers: where a published theory ends."""
