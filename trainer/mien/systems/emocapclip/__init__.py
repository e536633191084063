"""EmoCapCLIP: contrast faces with captions at several levels (arXiv 2507.21015); see README.md here."""
