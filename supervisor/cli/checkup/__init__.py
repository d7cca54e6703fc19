"""What `openclaw doctor` looks at: facts are gathered once, each check is a function of them."""
