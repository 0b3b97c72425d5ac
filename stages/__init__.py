"""The grid: a module for each verb of each project, and what they share."""
