"""The corpus builder: from movie files to captioned face shards (emocapclip spec, section 2)."""
