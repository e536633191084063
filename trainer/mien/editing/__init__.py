"""Around an edit of a photo: reading it, cropping the face, pasting the edit back, saying what was done."""
