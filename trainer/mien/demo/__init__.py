"""`mien demo`: a page on this machine that edits faces with a run."""
