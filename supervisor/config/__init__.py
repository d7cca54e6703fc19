"""The configuration: read it, check it, change it, cut it into slices."""
