"""Feedback from served models: drift of their inputs, and pictures to label."""
