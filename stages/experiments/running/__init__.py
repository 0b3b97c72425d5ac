"""How experiments and the whole pipeline are run: clones, DVC's queue, several at a time, progress."""
