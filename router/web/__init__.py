"""The router's one HTTP listener: the webchat page, its API, health answers and, later, platform webhooks."""
