"""What more than one process must agree on: ids, messages, configuration, paths and the link between processes."""
