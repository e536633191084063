"""Shards: schema, write, index, check, pack, split; and the stream that feeds them to a run."""
