"""Parts that run experiments and the whole pipeline: clones, parallel runs, progress."""
