"""What the stages of generated repositories share; rewritten when one is regenerated."""
