"""The router: owns the chat connections, the binding table and the spool."""
