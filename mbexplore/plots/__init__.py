"""Plain data to a matplotlib `Figure`, one pure function each. Knows no path and no model."""
