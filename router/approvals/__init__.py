"""Commands that people must allow: who is asked, in which words, and what came of it (SPEC 5.7)."""
