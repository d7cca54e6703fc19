"""The router's durable inbox and outbox: states and steps, the interface, SQLite, and the fake."""
