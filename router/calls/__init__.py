"""What workers ask of the router in the name of a message: other sessions, other chats, approvals, the host.

A worker is not believed: whether it has the message is known from the link, whether its agent may do this is decided
here again, and only then is it done.
"""
