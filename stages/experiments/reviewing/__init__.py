"""What a branch changes, and whether a guarded figure fell."""
