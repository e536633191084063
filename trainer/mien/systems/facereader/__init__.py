"""A face reader: parts, jaw, action units, pose and identity of a face, learnt from pairs."""
