"""What strangers, models, platforms and hands may send, made by chance: none of it may crash, hang or fill memory."""
