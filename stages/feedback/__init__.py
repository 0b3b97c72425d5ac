"""What comes back from models that serve: drift of their inputs, and pictures to label."""
