"""pipeline.yaml: its sections, its rules, and how it is read."""
