"""The pipeline's stages, from raw data to a served model."""
