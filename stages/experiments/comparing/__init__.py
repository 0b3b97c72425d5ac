"""Tables and charts that compare variants."""
