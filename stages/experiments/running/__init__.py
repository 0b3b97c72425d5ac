"""Parts that run experiments and the whole pipeline: clones, DVC's queue, parallel runs, progress."""
