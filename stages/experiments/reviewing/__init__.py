"""Parts of a review: what a branch changes, and whether a guarded metric got worse."""
